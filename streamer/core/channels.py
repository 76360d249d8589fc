"""Channels and senders: what a message can travel by, and which kind of sender does which."""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace

SMS: Final = "sms"
MMS: Final = "mms"
WHATSAPP: Final = "whatsapp"
RCS: Final = "rcs"
CHANNELS: Final = (SMS, MMS, WHATSAPP, RCS)

# How delivery events speak of each. Source: the names Segment emitted, "SMS Sent" and "WhatsApp Message Sent".
EVENT_NAMES: Final = {SMS: "SMS", MMS: "MMS", WHATSAPP: "WhatsApp Message", RCS: "RCS Message"}

SHORT_CODE_DIGITS_MAX: Final = 8  # a longer run of digits would be a number, which is written with its plus


class Sender(Struct, frozen=True):
    """Who a message is from: a number, short code or alphanumeric id (`number`), or a Messaging Service.

    No `channels` means all that its kind can do. `parts_per_s` is its pace (0: no limit), `has_one_owner` says that one
    partition sends all of it, at that whole pace, and `group` names those that share a STOP ("": it alone): none of
    them changes what is sent.
    """

    name: str
    account: str
    number: str = ""
    service_sid: str = ""
    channels: tuple[str, ...] = ()
    parts_per_s: float = 0.0
    has_one_owner: bool = False
    group: str = ""

    @property
    def stop_group(self) -> str:
        """The group that a person's STOP to it is about."""
        return self.group or self.name

    @property
    def kind(self) -> str:
        """What it is, in words: `Messaging Service`, `number`, `short code` or `alphanumeric sender`."""
        if self.service_sid:
            return "Messaging Service"
        if self.number.startswith("+"):
            return "number"
        return "short code" if self.number.isdigit() else "alphanumeric sender"

    def fault(self, channel: str) -> str:
        """Why it can't send by `channel`, or "". Source: facts of the Messages API, section 1."""
        if self.channels and channel not in self.channels:
            return f"sender {self.name!r} does not do {channel}, only {', '.join(self.channels)}"
        if not (self.number or self.service_sid):
            return ""  # read without secrets: its number is in the environment
        can = _CHANNELS_OF[self.kind]
        return (
            "" if channel in can else f"sender {self.name!r}, as {self.kind}, does {', '.join(can)} but not {channel}"
        )


def unpaced(sender: Sender) -> Sender:
    """The sender without what changes no message: how fast it sends, from where, and with whom it shares a STOP."""
    return replace(sender, parts_per_s=0.0, has_one_owner=False, group="")


_CHANNELS_OF: Final = {
    "Messaging Service": CHANNELS,
    "number": (SMS, MMS, WHATSAPP),
    "short code": (SMS, MMS),
    "alphanumeric sender": (SMS,),
}

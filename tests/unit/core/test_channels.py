"""Which kind of sender does which channel."""

import pytest

from streamer.core.channels import CHANNELS, EVENT_NAMES, Sender

SERVICE = Sender("service", "main", service_sid="MG" + "0" * 32)
NUMBER = Sender("number", "main", "+15550006789")
SHORT_CODE = Sender("code", "main", "12345")
NAMED = Sender("named", "main", "ACME 24")


@pytest.mark.parametrize(
    ("sender", "channels"),
    [
        (SERVICE, ["sms", "mms", "whatsapp", "rcs"]),
        (NUMBER, ["sms", "mms", "whatsapp"]),
        (SHORT_CODE, ["sms", "mms"]),
        (NAMED, ["sms"]),
        (Sender("only", "main", "+15550006789", channels=("whatsapp",)), ["whatsapp"]),
        (Sender("unread", "main"), ["sms", "mms", "whatsapp", "rcs"]),
    ],
)
def test_a_sender_does_what_its_kind_can_and_its_channels_allow(sender, channels):
    assert channels == [channel for channel in CHANNELS if not sender.fault(channel)]


def test_a_fault_names_the_kind_and_what_it_does():
    assert "sender 'named', as alphanumeric sender, does sms but not mms" == NAMED.fault("mms")
    assert "sender 'code', as short code, does sms, mms but not rcs" == SHORT_CODE.fault("rcs")


def test_every_channel_has_a_name_in_delivery_events():
    assert set(CHANNELS) == EVENT_NAMES.keys()

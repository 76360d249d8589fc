"""What the fake Twilio knows: its account, the messages it created, and where each stands at an instant.

Pure but for random SIDs: the instant is always given. A message's status is computed from its age and the script when
somebody asks, so a million messages cost no timers; as they hold no cycles, gc=False keeps the collector off them.
Source for fields and paging: the contract in tests/contracts/prism.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Final

from msgspec import Struct

# Twilio's valid test sender: what a Messaging Service of the fake picks.
SERVICE_NUMBER: Final = "+15005550006"
MESSAGES_MAX: Final = 2_000_000  # 0.8 KB each (measured), 1.6 GB; ten minutes at 3 000/s stay below


class Account(Struct, frozen=True):
    """The one account of a fake, with its API key. The defaults are documented, and no secret."""

    account_sid: str = "AC" + "0123456789abcdef" * 2
    auth_token: str = "fake-auth-token"
    api_key_sid: str = "SK" + "0123456789abcdef" * 2
    api_key_secret: str = "fake-api-key-secret"


class Step(Struct, frozen=True):
    """One step of a message's life: its status from `after_s` after creation on, with an error code if it failed."""

    status: str
    after_s: float
    error_code: int | None = None


SCRIPT: Final = (Step("queued", 0.02), Step("sent", 0.05), Step("delivered", 0.1))


class Order(Struct, frozen=True, gc=False):
    """A create request that Twilio would accept. `send_at_ms` is 0 unless scheduled."""

    to: str
    sender: str | None
    service_sid: str | None
    body: str
    media: tuple[str, ...] = ()
    callback: str = ""
    send_at_ms: int = 0
    tags: dict[str, str] | None = None
    segments: int = 1


class StoredMessage(Struct, gc=False):
    """One created message. `number` counts creations from 1; `sender` is null until a service has picked one."""

    number: int
    sid: str
    order: Order
    created_ms: int
    status: str
    sender: str | None
    body: str
    updated_ms: int
    sent_ms: int | None = None
    error_code: int | None = None
    is_deleted: bool = False

    @property
    def to(self) -> str:
        """The recipient as the request named it."""
        return self.order.to

    @property
    def starts_ms(self) -> int:
        """When its script starts: at creation, or at its scheduled time."""
        return self.order.send_at_ms or self.created_ms


class Query(Struct, frozen=True):
    """What a list request asks for. `sent` is the half-open range of `date_sent` in ms; `before` a message number."""

    to: str = ""
    sender: str = ""
    sent: tuple[int, int] | None = None
    page_size: int = 50
    before: int | None = None


class Ledger:
    """Every message created, in order, newest `messages_max` of them; one account's state at Twilio."""

    def __init__(self, account_sid: str, script: tuple[Step, ...] = SCRIPT, messages_max: int = MESSAGES_MAX) -> None:
        self.account_sid = account_sid
        self.script = script
        self.created = 0
        self._messages_max = messages_max
        self._messages: deque[StoredMessage] = deque()
        self._by_sid: dict[str, StoredMessage] = {}
        self._by_to: dict[str, list[StoredMessage]] = {}  # lists, for most hold one: an empty deque takes 600 B

    def create(self, order: Order, now_ms: int) -> StoredMessage:
        """Add a message; the oldest leaves when the ledger is full."""
        if len(self._messages) >= self._messages_max:
            self._forget_oldest()
        self.created += 1
        message = StoredMessage(
            number=self.created,
            # Not drawn from the seed: a fake started again must not give the SIDs of its former life.
            sid=("MM" if order.media else "SM") + os.urandom(16).hex(),
            order=order,
            created_ms=now_ms,
            status="scheduled" if order.send_at_ms else "accepted" if order.service_sid else "queued",
            sender=None if order.service_sid else order.sender,
            body=order.body,
            updated_ms=now_ms,
        )
        self._messages.append(message)
        self._by_sid[message.sid] = message
        self._by_to.setdefault(order.to, []).append(message)
        return message

    def _forget_oldest(self) -> None:
        oldest = self._messages.popleft()
        del self._by_sid[oldest.sid]
        same_to = self._by_to[oldest.to]
        del same_to[0]
        if not same_to:
            del self._by_to[oldest.to]

    def find(self, sid: str, now_ms: int) -> StoredMessage | None:
        """The message as it stands now; None when unknown or deleted."""
        message = self._by_sid.get(sid)
        if message is None or message.is_deleted:
            return None
        return self.settle(message, now_ms)

    def settle(self, message: StoredMessage, now_ms: int) -> StoredMessage:
        """Move a message along its script up to `now_ms`; a canceled one stays."""
        if message.status == "canceled":
            return message
        for step in self.script:
            at_ms = message.starts_ms + int(step.after_s * 1000)
            if at_ms > now_ms:
                break
            message.status, message.error_code = step.status, step.error_code
            message.updated_ms = max(message.updated_ms, at_ms)
            message.sender = message.sender or message.order.sender or SERVICE_NUMBER
            if step.status == "sent":
                message.sent_ms = at_ms
        return message

    def cancel(self, message: StoredMessage, now_ms: int) -> bool:
        """Cancel what has not been sent. False: too late."""
        if self.settle(message, now_ms).status not in ("scheduled", "accepted", "queued"):
            return message.status == "canceled"
        message.status, message.updated_ms = "canceled", now_ms
        return True

    def newest_first(self, query: Query, visible_until_ms: int, now_ms: int) -> Iterator[StoredMessage]:
        """The messages a list shows: not deleted, created at or before `visible_until_ms`, matching the query."""
        for message in reversed(self._by_to.get(query.to, ()) if query.to else self._messages):
            if message.is_deleted or message.created_ms > visible_until_ms:
                continue
            if query.before is not None and message.number >= query.before:
                continue
            self.settle(message, now_ms)
            if query.sender and message.sender != query.sender:
                continue
            if query.sent and not (message.sent_ms and query.sent[0] <= message.sent_ms < query.sent[1]):
                continue
            yield message

    def all_messages(self) -> Iterable[StoredMessage]:
        """What the ledger holds, oldest first, deleted ones too."""
        return self._messages

    def number_of(self, sid: str) -> int | None:
        """The number of a message by its SID, deleted or not; what a page token stands for."""
        message = self._by_sid.get(sid)
        return message.number if message else None

    def resource(self, message: StoredMessage, *, has_tags: bool = True) -> dict[str, object]:
        """The Message resource as Twilio shows it: every field, counts as strings, dates in RFC 2822."""
        order = message.order
        uri = f"/2010-04-01/Accounts/{self.account_sid}/Messages/{message.sid}"
        shown: dict[str, object] = {
            "sid": message.sid,
            "account_sid": self.account_sid,
            "api_version": "2010-04-01",
            "body": message.body,
            "date_created": rfc2822(message.created_ms // 1000),
            "date_sent": rfc2822(message.sent_ms // 1000) if message.sent_ms else None,
            "date_updated": rfc2822(message.updated_ms // 1000),
            "direction": "outbound-api",
            "error_code": message.error_code,
            "error_message": f"Error {message.error_code}" if message.error_code else None,
            "from": message.sender,
            "messaging_service_sid": order.service_sid,
            "num_media": str(len(order.media)),
            # Twilio counts the segments of a service's message once it has picked the sender.
            "num_segments": str(order.segments) if message.sender else "0",
            "price": None,
            "price_unit": "USD",
            "status": message.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": order.to,
            "uri": f"{uri}.json",
        }
        if order.tags is not None and has_tags:
            shown["tags"] = order.tags
        return shown


@lru_cache(maxsize=64)
def rfc2822(epoch_s: int) -> str:
    """An instant as Twilio's dates show it, e.g. `Thu, 24 Aug 2023 05:01:45 +0000`."""
    return format_datetime(datetime.fromtimestamp(epoch_s, UTC))

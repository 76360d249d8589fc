"""A test file as it is written: people, events at virtual times, and what may come of them.

Decoded by `msgspec.convert` from a document that `config_tests` has checked; dates stay text there. `story` plays it:
nothing but what a case expects may happen.
"""

from typing import Annotated, Any, ClassVar, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.core.channels import CHANNELS
from streamer.core.documents import INSTANT, OFFSET, Document, Instant, chosen, needs_any, needs_one, says, shaped
from streamer.core.records import ID_CHARS_MAX, MESSAGE_ID_CHARS_MAX, EventType
from streamer.core.suppressions import EVERYONE

START_DEFAULT: Final = "2026-01-01T00:00:00Z"
USER_DEFAULT: Final = "test-user"  # of an event that names nobody
EVENTS_MAX: Final = 1_000  # of a case; and as many expectations
PARTS_MAX: Final = 100  # of a message; the longest has 24
ANSWERS_MAX: Final = 100  # of a case
STOPPED_MAX: Final = 1_000
CODE_MIN, CODE_MAX = 400, 99_999  # an HTTP status, or a code of Twilio's, which have five digits
HELD_FOR: Final = "The policies that it waited for, as the delivery event lists them; empty: none."

Name = Annotated[str, Meta(min_length=1)]
Moment = Annotated[str, shaped(OFFSET, INSTANT)]
Channel = Annotated[str, chosen(CHANNELS)]
UserId = Annotated[str, Meta(max_length=ID_CHARS_MAX)]
MessageId = Annotated[str, Meta(max_length=MESSAGE_ID_CHARS_MAX)]
Traits = dict[str, Any]


class TestEvent(Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One event and when it comes: the fields of the Segment spec, and `at`; or `raw`, and `at`.

    `msgspec.to_builtins` gives the event as it was written; what was left out is left out there too.
    Raises: ValueError, without a `type`, unless it is `raw` and nothing more.
    """

    __test__: ClassVar[bool] = False  # pytest collects by name

    at: Annotated[
        Moment | UnsetType,
        says("When it comes: from the file's `at`, or a time; with the event before it if left out.", "+5m"),
    ] = UNSET
    raw: Annotated[
        str | UnsetType, says("In place of all the rest: the record as it is read, which may be no event.", "{]")
    ] = UNSET
    type: Annotated[EventType | UnsetType, says("The call.")] = UNSET
    event: Annotated[str | UnsetType, says("The name of a track.", "Order Shipped")] = UNSET
    user_id: Annotated[UserId | UnsetType, says(f"The person; {USER_DEFAULT} if no id is given.")] = UNSET
    anonymous_id: Annotated[UserId | UnsetType, says("The person, if not signed in.")] = UNSET
    message_id: Annotated[MessageId | UnsetType, says("The event's id; give two events one to try a repeat.")] = UNSET
    timestamp: Annotated[
        Instant | UnsetType, says("When it happened, if that is long before it comes.", "2026-01-30T21:00:00Z")
    ] = UNSET
    original_timestamp: Annotated[Instant | UnsetType, says("When it happened, by the device's clock.")] = UNSET
    sent_at: Annotated[Instant | UnsetType, says("When it was sent, by the device's clock.")] = UNSET
    received_at: Annotated[Instant | UnsetType, says("When it arrived, by the collector's clock.")] = UNSET
    name: Annotated[str | UnsetType, says("The name of a page or a screen.")] = UNSET
    category: Annotated[str | UnsetType, says("The category of a page or a screen.")] = UNSET
    group_id: Annotated[str | UnsetType, says("The group of a group call.")] = UNSET
    previous_id: Annotated[str | UnsetType, says("The former id of an alias.")] = UNSET
    properties: Annotated[Traits | UnsetType, says("What is known about what happened.", {"total": 60})] = UNSET
    traits: Annotated[Traits | UnsetType, says("The traits of an identify or a group.")] = UNSET
    context: Annotated[Traits | UnsetType, says("Circumstances, as in the spec.")] = UNSET
    integrations: Annotated[Traits | UnsetType, says("Which destinations may have it.", {"All": True})] = UNSET

    def __post_init__(self) -> None:
        given = {name for name in self.__struct_fields__ if getattr(self, name) is not UNSET} - {"at"}
        if ("type" not in given and "raw" not in given) or ("raw" in given and given != {"raw"}):
            raise ValueError("an event has a `type`; or `raw`, and then nothing more than `at`")


class TestAnswer(Struct, kw_only=True, rename={"sender": "from"}, forbid_unknown_fields=True):
    """What Twilio answers to some requests in place of taking the message."""

    __test__: ClassVar[bool] = False

    mapping: Annotated[str, says("Of this mapping; of any if left out.", "order-shipped")] = ""
    to: Annotated[str, says("To this number, as E.164; to any if left out.", "+15550100001")] = ""
    sender: Annotated[str, says("From this sender; from any if left out.", "shop")] = ""
    code: Annotated[
        Annotated[int, Meta(ge=CODE_MIN, le=CODE_MAX)],
        says("Twilio's error code, or an HTTP status that comes without one.", 63003, 429),
    ]
    times: Annotated[
        Annotated[int, Meta(ge=1, le=EVENTS_MAX)] | None,
        says("How often, then others are asked; always if left out.", 1),
    ] = None


class TestStopped(Struct, kw_only=True, forbid_unknown_fields=True):
    """A number that has said STOP."""

    __test__: ClassVar[bool] = False

    number: Annotated[Annotated[str, shaped(r"\+[1-9][0-9]{1,14}")], says("The number, as E.164.", "+15550100001")]
    group: Annotated[
        Annotated[str, shaped(r"\*|[^\s/]{1,64}")],
        says("To the senders of this group (a sender without a `group` is one of its own name); * to all.", "shop"),
    ] = EVERYONE


class ExpectedSend(Struct, kw_only=True, rename={"sender": "from"}, forbid_unknown_fields=True):
    """A message that has to be sent; what is left out may be anything.

    Raises: ValueError, without any of `mapping`, `body` and `to`.
    """

    mapping: Annotated[str | None, says("The id of the mapping that sends it.", "order-shipped")] = None
    body: Annotated[str | None, says("The whole text.")] = None
    to: Annotated[str | None, says("The number, as E.164.", "+15550100001")] = None
    at: Annotated[
        Moment | None,
        says("When it is sent, by us or by Twilio where that holds it: from the file's `at`, or a time.", "+5m"),
    ] = None
    channel: Annotated[Channel | None, says("What it travels by.")] = None
    sender: Annotated[str | None, says("The name of the declared sender.", "shop")] = None
    media_urls: Annotated[list[str] | None, says("The addresses of its media, in order.")] = None
    content_sid: Annotated[str | None, says("The SID of its content template.")] = None
    content_variables: Annotated[
        dict[str, str] | None, says("The variables of its content template, all of them.", {"1": "Ada"})
    ] = None
    parts: Annotated[Annotated[int, Meta(ge=1, le=PARTS_MAX)] | None, says("How many SMS it takes.", 1)] = None
    held_for: Annotated[str | None, says(HELD_FOR, "quiet_hours")] = None

    def __post_init__(self) -> None:
        if self.mapping is None and self.body is None and self.to is None:
            raise ValueError("a send is expected by its `mapping`, `body` or `to`")


class ExpectedSuppression(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message that must not be sent; what is left out may be anything.

    Raises: ValueError, without both `mapping` and `reason`.
    """

    mapping: Annotated[str | None, says("The id of the mapping that would have sent it.", "order-shipped")] = None
    reason: Annotated[
        str | None, says("Why it is not sent.", "profile_incomplete", "no_phone", "missing_value", "too_old")
    ] = None
    detail: Annotated[str | None, says("What the delivery event says more.", "profile.traits.first_name")] = None
    at: Annotated[Moment | None, says("When that is decided: from the file's `at`, or a time.", "+5m")] = None
    held_for: Annotated[str | None, says(HELD_FOR, "limit 1 per day over category")] = None

    def __post_init__(self) -> None:
        if self.mapping is None and self.reason is None:
            raise ValueError("a suppression is expected by `mapping`, `reason` or both")


class ExpectedEnd(Struct, kw_only=True, forbid_unknown_fields=True):
    """A message that was asked for and refused, or of which no answer tells whether it exists.

    Raises: ValueError, without both `mapping` and `reason`.
    """

    mapping: Annotated[str | None, says("The id of the mapping that sent it.", "order-shipped")] = None
    reason: Annotated[
        str | None, says("Why there is none, or none is known.", "optout", "recipient", "gateway_busy", "too_old")
    ] = None
    code: Annotated[int | None, says("Twilio's error code; 0: none.", 21610)] = None
    detail: Annotated[str | None, says("What the delivery event says more.", "HTTP 400")] = None
    at: Annotated[Moment | None, says("When that is known: from the file's `at`, or a time.", "+5m")] = None
    held_for: Annotated[str | None, says(HELD_FOR, "quiet_hours")] = None

    def __post_init__(self) -> None:
        if self.mapping is None and self.reason is None:
            raise ValueError("a failure is expected by `mapping`, `reason` or both")


class ExpectedDeadLetter(Struct, kw_only=True, forbid_unknown_fields=True):
    """An event that has to be refused."""

    reason: Annotated[str, says("Segment's discard code.", "event_not_defined", "no_user_anon_id", "bad_request")]
    at: Annotated[Moment | None, says("When it comes: from the file's `at`, or a time.", "+5m")] = None


class Expectation(Struct, kw_only=True, forbid_unknown_fields=True):
    """One thing that has to happen: a message that is sent, or not, or refused, or unknown; or an event that is none.

    Raises: ValueError, unless it is exactly one.
    """

    send: Annotated[
        Annotated[ExpectedSend, needs_any("mapping", "body", "to")] | UnsetType, says("A message that is sent.")
    ] = UNSET
    suppress: Annotated[
        Annotated[ExpectedSuppression, needs_any("mapping", "reason")] | UnsetType, says("A message that is not sent.")
    ] = UNSET
    fail: Annotated[
        Annotated[ExpectedEnd, needs_any("mapping", "reason")] | UnsetType, says("A message that is refused.")
    ] = UNSET
    unknown: Annotated[
        Annotated[ExpectedEnd, needs_any("mapping", "reason")] | UnsetType,
        says("A message of which no answer tells whether it exists."),
    ] = UNSET
    dead_letter: Annotated[ExpectedDeadLetter | UnsetType, says("An event that is refused.")] = UNSET

    def __post_init__(self) -> None:
        given = [kind for kind in EXPECTED if getattr(self, kind) is not UNSET]
        if len(given) != 1:
            raise ValueError(f"an expectation has one key of {', '.join(EXPECTED)}")


EXPECTED: Final = Expectation.__struct_fields__
"""What can be expected."""


class TestCase(Struct, kw_only=True, forbid_unknown_fields=True):
    """One story: what comes, and all that may come of it."""

    __test__: ClassVar[bool] = False

    name: Annotated[Name, says("What it shows, as a claim.", "a dear order sends one SMS")]
    profile: Annotated[
        Traits | None, says("Traits of the first event's person before the events, in place of the file's.")
    ] = None
    stopped: Annotated[
        Annotated[list[TestStopped], Meta(max_length=STOPPED_MAX)] | None,
        says("Who has said STOP before the events, in place of the file's."),
    ] = None
    answers: Annotated[
        list[TestAnswer],
        Meta(max_length=ANSWERS_MAX),
        says("What Twilio refuses: the first of these that is for a request answers it; all else is accepted."),
    ] = []
    events: Annotated[
        list[Annotated[TestEvent, needs_one("type", "raw")]],
        Meta(min_length=1, max_length=EVENTS_MAX),
        says("What comes, in order of time."),
    ]
    expect: Annotated[
        list[Annotated[Expectation, needs_one(*EXPECTED)]],
        Meta(max_length=EVENTS_MAX),
        says("Everything that has to happen, in order of time; nothing else may. Empty: nothing at all."),
    ]


class TestFile(Struct, kw_only=True, forbid_unknown_fields=True):
    """The cases of one file, and what they share."""

    __test__: ClassVar[bool] = False

    name: Annotated[str, says("What its cases are about; the file's name if left out.", "Order messages")] = ""
    at: Annotated[Instant, says("The time at which each case begins.", "2026-01-31T09:00:00Z")] = START_DEFAULT
    profile: Annotated[
        Traits,
        says("Traits of the first event's person before the events.", {"first_name": "Ada", "phone": "+15550100001"}),
    ] = {}
    stopped: Annotated[
        list[TestStopped], Meta(max_length=STOPPED_MAX), says("Who has said STOP before the events.")
    ] = []
    tests: Annotated[list[TestCase], Meta(min_length=1), says("The cases; each begins anew.")]


TEST: Final = Document("test", "A test file of streamer", TestFile)

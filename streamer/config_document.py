"""A streamer.yaml as it is written, for its JSON Schema; its bounds and shapes are the loader's own.

Only described here, never decoded by these types: `config` reads the file, and tests hold the two together.
"""

from typing import Annotated, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field

from streamer.config import (
    CONCURRENCY_MAX,
    OVERLAY,
    PACE_MAX,
    PACE_MIN,
    PARTITIONS_MAX,
    REPLICATION_MAX,
    SASL_MECHANISMS,
    SECURITY_PROTOCOLS,
    SENDER_OWNERS,
    SHARED,
    STORE_ENGINES,
    UPDATE,
)
from streamer.config_checks import (
    BROKER,
    FROM,
    LISTEN,
    NAME,
    NUMBER_KEY,
    PUBLIC_URL,
    SID_DIGITS,
    TOKEN_KEY,
    TOPIC,
    TOPIC_CHARS_MAX,
    URL,
)
from streamer.config_outcomes import CODE, KINDS_ALONE
from streamer.core.channels import CHANNELS
from streamer.core.consent import CHANNELS_ASKED, MODES
from streamer.core.documents import DURATION, WAIT, Document, chosen, needs_one, says, shaped
from streamer.core.documents_policies import Hours, Limits
from streamer.core.identity import BLOCKED, BLOCKED_CHARS_MAX, BLOCKED_MAX
from streamer.core.outcomes import KINDS, SCOPES
from streamer.core.policies import EXEMPTIONS
from streamer.core.retry import SCHEDULES

_VARIABLE: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"  # a text that has one is checked when its value is known
# A date of any ISO form, a time and a zone: `start_fault` takes them all.
_TIME: Final = "^[0-9]{4}.{3,6}.[0-9]{2}[0-9:.,]*([Zz]|[+-][0-9:.]+)$"
_EMPTY: Final = ""  # as good as left out, where a key may be left out

DeclaredName = Annotated[str, shaped(NAME.pattern)]
Name = Annotated[str, shaped(NAME.pattern, found=_VARIABLE)]
Topic = Annotated[str, Meta(max_length=TOPIC_CHARS_MAX), shaped(TOPIC.pattern, found=_VARIABLE)]
AccountSid = Annotated[str, shaped(f"AC{SID_DIGITS.pattern}", found=_VARIABLE)]
KeySid = Annotated[str, shaped(f"SK{SID_DIGITS.pattern}", found=_VARIABLE)]
ServiceSid = Annotated[str, shaped(f"MG{SID_DIGITS.pattern}", found=_VARIABLE)]
From = Annotated[str, shaped(FROM.pattern, found=_VARIABLE)]
Pace = Annotated[float, Meta(ge=PACE_MIN, le=PACE_MAX)]
Duration = Annotated[str, shaped(DURATION, _EMPTY, found=_VARIABLE)]
Required = Annotated[str, Meta(min_length=1)]
KeysByPath = Annotated[dict[str, list[str]], Meta(min_length=1)]
Channels = Annotated[list[Annotated[str, chosen(CHANNELS, _VARIABLE)]], Meta(min_length=1)]
ConsentKey = Annotated[str, shaped("[^/]+", rf"[\s\S]+/({'|'.join(CHANNELS_ASKED)})", found=_VARIABLE)]
BlockedIds = Annotated[
    list[Annotated[str, Meta(max_length=BLOCKED_CHARS_MAX)]], Meta(min_length=1, max_length=BLOCKED_MAX)
]
Version = Annotated[str, shaped(NUMBER_KEY.pattern)]
TokenKey = Annotated[str, shaped(TOKEN_KEY.pattern, found=_VARIABLE)]
Drop = Annotated[bool, Meta(extra_json_schema={"const": True})]


class Kafka(Struct, forbid_unknown_fields=True, kw_only=True):
    """How to reach Kafka; the security settings have aiokafka's names."""

    bootstrap_servers: Annotated[
        str,
        says("Addresses of brokers, with a comma between.", "127.0.0.1:9092", "kafka-1:9092, kafka-2:9092"),
        shaped(rf"\s*{BROKER.pattern}\s*(,\s*{BROKER.pattern}\s*)*", found=_VARIABLE),
    ]
    group: Annotated[Name, says("The consumer groups are this with `.router` and `.owner` behind it.")] = "streamer"
    client_id: Annotated[Name, says("How the brokers' logs and quotas name this service.")] = "streamer"
    security_protocol: Annotated[
        str, says("Whether to encrypt and to log in."), chosen((*SECURITY_PROTOCOLS, _EMPTY), _VARIABLE)
    ] = "PLAINTEXT"
    ssl_cafile: Annotated[str, says("The certificates to trust, a file beside this one.", "ca.pem")] = ""
    ssl_certfile: Annotated[str, says("The client's certificate, a file beside this one.")] = ""
    ssl_keyfile: Annotated[str, says("The key of the client's certificate, a file beside this one.")] = ""
    ssl_password: Annotated[str, says("The password of `ssl_keyfile`.", "${KAFKA_KEY_PASSWORD}")] = ""
    ssl_check_hostname: Annotated[bool, says("Whether a broker's certificate must name its host.")] = True
    sasl_mechanism: Annotated[str, says("How to log in."), chosen(SASL_MECHANISMS, _VARIABLE)] = "PLAIN"
    sasl_plain_username: Annotated[str, says("The user to log in as.", "${KAFKA_USERNAME}")] = ""
    sasl_plain_password: Annotated[str, says("The user's password.", "${KAFKA_PASSWORD}")] = ""
    sasl_kerberos_service_name: Annotated[Required, says("The brokers' Kerberos service.")] = "kafka"
    sasl_kerberos_domain_name: Annotated[str, says("The brokers' Kerberos domain.")] = ""
    session_timeout: Annotated[
        Duration, says("After how long without a sign of life a process loses its partitions: 1s to 30m.")
    ] = "10s"
    enable_idempotence: Annotated[
        bool, says("Whether to use the idempotent producer; false only for a broker that lacks it.")
    ] = True


class Topics(Struct, forbid_unknown_fields=True, kw_only=True):
    """Which topics are read, and what our own are called."""

    events: Annotated[
        list[Topic],
        Meta(min_length=1),
        says("The topics to read events from.", ["events.track", "events.identify"]),
    ]
    start: Annotated[
        str,
        says("Where to begin at the very first start: earliest, latest or a time.", "2026-01-31T00:00:00Z"),
        Meta(extra_json_schema={"anyOf": [{"enum": ["earliest", "latest"]}, {"pattern": f"{_TIME}|{_VARIABLE}"}]}),
    ] = "latest"
    prefix: Annotated[
        Topic,
        says(
            "Our own topics are this and `by-user`, `state`, `suppressions`, `deliveries` or `dead-letters` behind it."
        ),
    ] = "streamer."
    partitions: Annotated[
        int,
        Meta(ge=1, le=PARTITIONS_MAX),
        says("Partitions of our own topics (`suppressions` has one); created with them, never changed."),
    ] = 8
    replication: Annotated[int, Meta(ge=1, le=REPLICATION_MAX), says("Copies of our own topics; 3 in production.")] = 1


class Account(Struct, forbid_unknown_fields=True, kw_only=True):
    """A Twilio account and the API key to use it with."""

    account_sid: Annotated[AccountSid, says("The account.", "${TWILIO_ACCOUNT_SID}")]
    api_key_sid: Annotated[KeySid, says("The API key's id.", "${TWILIO_API_KEY_SID}")]
    api_key_secret: Annotated[Required, says("The API key's secret.", "${TWILIO_API_KEY_SECRET}")]
    auth_token: Annotated[
        str, says("The account's auth token, with which Twilio signs its callbacks.", "${TWILIO_AUTH_TOKEN}")
    ] = ""
    base_url: Annotated[
        str,
        says("Where Twilio's API is, or a fake of it.", "http://127.0.0.1:8010"),
        shaped(URL.pattern, found=_VARIABLE),
    ] = "https://api.twilio.com"
    concurrency: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX), says("The most requests in flight at once.")] = 64
    requests_per_s: Annotated[
        Pace | UnsetType, says("Requests a second that the account allows; no limit if left out.", 100)
    ] = UNSET
    timeout: Annotated[
        Duration, says("Of one request, at most 300s; a message whose request takes longer has the outcome unknown.")
    ] = "10s"


class Sender(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who messages are from: a number of your own, or a Messaging Service."""

    from_: Annotated[
        From | UnsetType,
        says("A number, a short code or up to 11 letters and digits.", "+15550006789", "12345", "My Shop"),
    ] = field(name="from", default=UNSET)
    messaging_service: Annotated[
        ServiceSid | UnsetType,
        says("The Messaging Service that picks the number.", "${TWILIO_MESSAGING_SERVICE_SID}"),
    ] = UNSET
    account: Annotated[str | UnsetType, says("The account it belongs to, by its name; the only one if left out.")] = (
        UNSET
    )
    channels: Annotated[Channels | UnsetType, says("What it can send; everything if left out.", ["sms", "mms"])] = UNSET
    group: Annotated[
        str,
        says("Senders of one group share who said STOP; if left out it is alone."),
        shaped(NAME.pattern, _EMPTY, found=_VARIABLE),
    ] = ""
    parts_per_s: Annotated[
        Pace | UnsetType, says("Message parts a second that its carrier allows; no limit if left out.", 1, 100)
    ] = UNSET
    owner: Annotated[
        str,
        says(
            "Whether every process sends its share of `parts_per_s`, or one partition sends everything of this sender: "
            "for one too slow to share."
        ),
        chosen(SENDER_OWNERS, _VARIABLE),
    ] = SHARED


class Http(Struct, forbid_unknown_fields=True, kw_only=True):
    """The service's own HTTP server: metrics and health, and what Twilio calls back."""

    listen: Annotated[
        str, says("Where it listens; port 0 takes a free one.", "0.0.0.0:8080"), shaped(LISTEN.pattern, found=_VARIABLE)
    ] = "127.0.0.1:8080"
    public_url: Annotated[
        str,
        says(
            "The address by which Twilio reaches it; it is told the statuses of messages there.",
            "https://sms.example.com",
        ),
        shaped(PUBLIC_URL.pattern, _EMPTY, found=_VARIABLE),
    ] = ""
    token_keys: Annotated[
        dict[Version, TokenKey] | UnsetType | None,
        says(
            "The keys that hide in such an address whose message it is, by version: 32 or 64 bytes in base64. The "
            "highest version is used, and the others are understood.",
            {"1": "${STREAMER_TOKEN_KEY}"},
        ),
    ] = UNSET


class Store(Struct, forbid_unknown_fields=True, kw_only=True):
    """Where a process keeps the state of its people."""

    engine: Annotated[str, says("In what."), chosen(STORE_ENGINES, _VARIABLE)] = "memory"
    path: Annotated[Required, says("In which folder, from this file's own.")] = "./state"


class Defaults(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a mapping takes where it says nothing."""

    region: Annotated[
        str,
        says(
            "The country of numbers that are written without one, if neither the person nor the event has one, by its "
            "two capital letters.",
            "US",
            "GB",
        ),
        shaped("[A-Z]{2}", found=_VARIABLE),
    ] = "US"
    sender: Annotated[str, says("The declared sender to use; not needed if there is only one.", "shop")] = ""
    max_age: Annotated[Duration, says("An event older than this sends nothing.")] = "24h"
    strict_numbers: Annotated[
        bool, says("Whether to send only to numbers in a range known to be in use; false sends to possible ones too.")
    ] = False
    identify_wait: Annotated[
        Annotated[str, shaped(WAIT, _EMPTY, found=_VARIABLE)],
        says("How long an event waits for what it lacks of its person's profile; 0s: not at all."),
    ] = "10m"
    timezone: Annotated[
        str, says("The time zone of people of whom none is known, for limits per day or week.", "America/New_York")
    ] = "UTC"


class Category(Struct, forbid_unknown_fields=True, kw_only=True):
    """What does not hold for messages of a category, as for those of a purchase."""

    exempt: Annotated[
        Annotated[list[Annotated[str, chosen(EXEMPTIONS, _VARIABLE)]], Meta(min_length=1)],
        says("What is not asked: consent, limits, or quiet_hours.", ["limits", "quiet_hours"]),
    ]


class Consent(Struct, forbid_unknown_fields=True, kw_only=True):
    """Whom to ask before a message is sent, and the traits that answer."""

    mode: Annotated[
        str,
        says("Whether silence allows a message (opt_out) or, where its mapping has a category, forbids it (opt_in)."),
        chosen(MODES, _VARIABLE),
    ] = "opt_out"
    traits: Annotated[
        dict[str, ConsentKey] | UnsetType | None,
        says(
            "The traits that state a consent, each with its category, and channel after a slash.",
            {"sms_opt_in": "marketing/sms", "newsletter": "marketing"},
        ),
    ] = UNSET


class Identity(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who is who."""

    blocked: Annotated[
        BlockedIds | UnsetType,
        says(
            "Regular expressions of ids that are nobody's, matched with a whole id in any case; these if left out.",
            list(BLOCKED),
        ),
    ] = UNSET


class Profile(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is learnt of people."""

    context_traits: Annotated[
        str,
        says("What an event's `context.traits` are: seen by that event alone (overlay), or kept like an identify's."),
        chosen((OVERLAY, UPDATE, _EMPTY), _VARIABLE),
    ] = OVERLAY


class Sample(Struct, forbid_unknown_fields=True, kw_only=True):
    """A share of the events, always the same ones."""

    percent: Annotated[float, Meta(ge=0, le=100), says("How many of a hundred events are kept.", 10)]
    by: Annotated[
        Required | UnsetType, says("The path whose value decides which ones; the record itself if left out.", "userId")
    ] = UNSET


class FilterAction(Struct, forbid_unknown_fields=True, kw_only=True):
    """What happens to the events of a filter before any mapping sees them."""

    when: Annotated[
        Required | UnsetType,
        says("The filter that an event must match; every event if left out.", 'type = "track" and event = "Debug"'),
    ] = UNSET
    drop: Annotated[Drop | UnsetType, says("The event is dropped.")] = UNSET
    sample: Annotated[Sample | UnsetType, says("Only some of the events are kept.")] = UNSET
    allow_properties: Annotated[
        KeysByPath | UnsetType, says("At each path only these keys are kept.", {"properties": ["order_id", "total"]})
    ] = UNSET
    drop_properties: Annotated[
        KeysByPath | UnsetType,
        says("At each path these keys are removed.", {"properties": ["email"], "context": ["ip"]}),
    ] = UNSET


class Outcome(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a code of Twilio's means for its message."""

    kind: Annotated[str, says("What to do about it.", "recipient", "stop", "later"), chosen(KINDS, _VARIABLE)]
    scope: Annotated[str | UnsetType, says("What a stop stops until a person mends it."), chosen(SCOPES, _VARIABLE)] = (
        UNSET
    )
    schedule: Annotated[str | UnsetType, says("When later is."), chosen(tuple(SCHEDULES), _VARIABLE)] = UNSET


OutcomeKind = Annotated[str, chosen(KINDS_ALONE, _VARIABLE)]
Outcomes = dict[Annotated[str, shaped(CODE.pattern)], OutcomeKind | Outcome]
Accounts = dict[DeclaredName, Account]
Senders = dict[DeclaredName, Annotated[Sender, needs_one("from", "messaging_service")]]
Filters = list[Annotated[FilterAction, needs_one("drop", "sample", "allow_properties", "drop_properties")]]


class Configuration(Struct, forbid_unknown_fields=True, kw_only=True):
    """Everything but the mappings, which are files of their own in `mappings` beside it.
    `${NAME}` in a text comes from the environment. Durations are written 10s, 5m or 24h.
    """

    kafka: Annotated[Kafka, says("How to reach Kafka.")]
    topics: Annotated[Topics, says("What to read, and what our own topics are called.")]
    accounts: Annotated[Accounts | UnsetType | None, says("Twilio accounts by names of yours.")] = UNSET
    senders: Annotated[
        Senders | UnsetType | None,
        says("Who messages are from, by names of yours.", {"shop": {"from": "+15550006789"}}),
    ] = UNSET
    http: Annotated[Http | UnsetType | None, says("The service's own HTTP server.")] = UNSET
    store: Annotated[Store | UnsetType | None, says("Where a process keeps the state of its people.")] = UNSET
    defaults: Annotated[Defaults | UnsetType | None, says("What a mapping takes where it says nothing.")] = UNSET
    consent: Annotated[Consent | UnsetType | None, says("What people agreed to, and whether they have to.")] = UNSET
    identity: Annotated[Identity | UnsetType | None, says("Who is who.")] = UNSET
    profile: Annotated[Profile | UnsetType | None, says("What is learnt of people.")] = UNSET
    integration: Annotated[
        Required, says("The name by which an event's `integrations` object allows or forbids us.")
    ] = "Twilio"
    outcomes: Annotated[
        Outcomes | UnsetType | None,
        says(
            "What codes of Twilio's mean where its table says otherwise; 30xxx is every code of 30000 to 30999 that "
            "is not in the table.",
            {"30003": "recipient", "21612": {"kind": "stop", "scope": "sender"}, "30xxx": "message"},
        ),
    ] = UNSET
    limits: Annotated[
        Limits | UnsetType | None,
        says("How many messages one person gets, of all mappings.", [{"count": 3, "per": "week", "over": "all"}]),
    ] = UNSET
    quiet_hours: Annotated[
        Hours | UnsetType | None,
        says("At which hours people are written to.", {"preset": "us", "zone": "America/New_York"}),
    ] = UNSET
    categories: Annotated[
        dict[str, Category] | UnsetType | None,
        says("Categories for which not all holds.", {"transactional": {"exempt": ["limits", "quiet_hours"]}}),
    ] = UNSET
    allow_numbers: Annotated[
        list[Annotated[str, shaped(r"\+[0-9]{7,15}", found=_VARIABLE)]] | UnsetType | None,
        says("Only these numbers are ever sent to; all, if left out.", ["+14155550100"]),
    ] = UNSET
    filters: Annotated[
        Filters | UnsetType | None, says("What happens to events before any mapping sees them, in this order.")
    ] = UNSET


CONFIG: Final = Document("config", "The configuration of streamer", Configuration)

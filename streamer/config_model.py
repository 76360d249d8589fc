"""What a configuration holds once it is read: typed, frozen, and silent about its secrets. Read before `config`."""

from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from streamer.core.channels import Sender
from streamer.core.rules import RuleSet

MAPPINGS_FOLDER: Final = "mappings"
DRY: Final = "dry"  # of a dry run: `<prefix>dry.` its topics, `<group>.dry` its groups, `<store.path>/dry` its folder
_HIDDEN: Final = frozenset({"ssl_password", "sasl_plain_password", "api_key_secret", "auth_token", "token_keys"})


class KafkaConfig(Struct, frozen=True):
    """How to reach Kafka; the security settings carry aiokafka's own names."""

    bootstrap_servers: str
    group: str = "streamer"
    client_id: str = "streamer"
    security_protocol: str = "PLAINTEXT"
    ssl_cafile: str = ""
    ssl_certfile: str = ""
    ssl_keyfile: str = ""
    ssl_password: str = ""
    ssl_check_hostname: bool = True
    sasl_mechanism: str = "PLAIN"
    sasl_plain_username: str = ""
    sasl_plain_password: str = ""
    sasl_kerberos_service_name: str = "kafka"
    sasl_kerberos_domain_name: str = ""
    session_timeout_s: float = 10.0
    enable_idempotence: bool = True

    def __repr__(self) -> str:
        return _repr(self)


class TopicsConfig(Struct, frozen=True):
    """The topics read, and the names of our own: `prefix` + name.

    `start` is "earliest", "latest" or a wall instant in ms since the epoch; used once, at the first start.
    `suppressions_of` is the prefix of whose suppressions are read, where they are not ours (""): a dry run reads those
    of the live service, for a STOP holds there too, and never makes or writes them.
    """

    events: tuple[str, ...]
    start: str | int = "latest"
    prefix: str = "streamer."
    partitions: int = 8
    replication: int = 1
    suppressions_of: str = ""

    @property
    def by_user(self) -> str:
        """Whatever concerns one person, keyed by identity."""
        return self.prefix + "by-user"

    @property
    def state(self) -> str:
        """The compacted changelog of the state records."""
        return self.prefix + "state"

    @property
    def deliveries(self) -> str:
        """Outcomes and statuses."""
        return self.prefix + "deliveries"

    @property
    def suppressions(self) -> str:
        """Who said STOP to which senders; compacted, and held whole by every owner."""
        return (self.suppressions_of or self.prefix) + "suppressions"

    @property
    def dead_letters(self) -> str:
        """What could not be read."""
        return self.prefix + "dead-letters"


class AccountConfig(Struct, frozen=True):
    """One Twilio account: requests carry the API key, callbacks are signed with the auth token.

    `concurrency` bounds the requests in flight, `requests_per_s` those that begin (0: no limit).
    """

    name: str
    account_sid: str
    api_key_sid: str
    api_key_secret: str
    auth_token: str = ""
    base_url: str = "https://api.twilio.com"
    concurrency: int = 64
    timeout_s: float = 10.0
    requests_per_s: float = 0.0

    def __repr__(self) -> str:
        return _repr(self)


class HttpConfig(Struct, frozen=True):
    """Where our own server listens, and the address by which Twilio reaches it ("": not reachable).

    `token_keys` are those of the callbacks' tokens, by version; there is one at least wherever there is a `public_url`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    token_keys: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return _repr(self)


class StoreConfig(Struct, frozen=True):
    """Where an owner keeps its state between reads of the changelog."""

    engine: str = "memory"
    path: str = "./state"


class Defaults(Struct, frozen=True):
    """What a mapping takes when it doesn't say."""

    region: str = "US"
    sender: str = ""
    max_age_s: float = 86_400.0
    wait_s: float = 600.0
    strict_numbers: bool = False
    timezone: str = "UTC"


class Config(Struct, frozen=True):
    """Everything a command needs to know, read and validated; `path` is the streamer.yaml it came from.

    `unread` is what lies in the mappings folder and is no mapping file; `disabled` are the ids of disabled mappings.
    `is_dry`: everything is decided and nothing is posted (`dry`).
    """

    kafka: KafkaConfig
    topics: TopicsConfig
    accounts: dict[str, AccountConfig]
    senders: dict[str, Sender]
    http: HttpConfig
    store: StoreConfig
    defaults: Defaults
    mappings: RuleSet
    path: Path
    unread: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    is_dry: bool = False

    @property
    def mappings_folder(self) -> Path:
        """Where the mappings are read from."""
        return self.path.parent / MAPPINGS_FOLDER


def dry(config: Config) -> Config:
    """The same service run dry: its own groups, topics and folder beside those of the live one, and no callbacks."""
    return replace(
        config,
        kafka=replace(config.kafka, group=f"{config.kafka.group}.{DRY}"),
        topics=replace(config.topics, prefix=f"{config.topics.prefix}{DRY}.", suppressions_of=config.topics.prefix),
        http=replace(config.http, public_url="", token_keys={}),
        store=replace(config.store, path=str(Path(config.store.path) / DRY)),
        is_dry=True,
    )


def _repr(config: KafkaConfig | AccountConfig | HttpConfig) -> str:
    """The fields of a Struct without its secrets, so that no log or traceback can carry one."""
    fields = {name: "…" if name in _HIDDEN and value else value for name, value in asdict(config).items()}
    return f"{type(config).__name__}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

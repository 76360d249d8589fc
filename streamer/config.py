"""The configuration: the only reader of files and of the environment; typed, validated, frozen.

`load` reads a streamer.yaml and the mappings beside it, and reports every fault of all files at once.
Source: README, "Configuration".
"""

import os
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from streamer.config_checks import (
    brokers_fault,
    from_fault,
    instant_ms,
    listen_fault,
    name_fault,
    region_fault,
    sid_check,
    start_fault,
    topic_fault,
    topic_identity,
    url_fault,
)
from streamer.config_section import Section, fields
from streamer.config_yaml import DOCUMENT_BYTES_MAX, Document, Faults, Mark, nearest, shown
from streamer.core.channels import CHANNELS, Sender
from streamer.core.event_filters import INTEGRATION_DEFAULT, EventFilters, compile_event_filters
from streamer.core.rules import Rule, RuleDefaults, RuleSet, compile_rule
from streamer.errors import ConfigError, MappingError

FILE_NAME: Final = "streamer.yaml"
MAPPINGS_FOLDER: Final = "mappings"
# What the service writes, now or in a later version: an input of one of these names would read its own output.
OWN_TOPICS: Final = (
    "by-user",
    "by-user.backfill",
    "state",
    "suppressions",
    "jobs",
    "control",
    "deliveries",
    "dead-letters",
)
SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
# OAUTHBEARER is missing: aiokafka takes it only with a token provider written in Python.
SASL_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI")
STORE_ENGINES: Final = ("memory",)

PARTITIONS_MAX: Final = 10_000
REPLICATION_MAX: Final = 100  # far above any cluster's count of brokers; a slip of the finger lies beyond it
CONCURRENCY_MAX: Final = 10_000
PARTS_PER_S_MIN, PARTS_PER_S_MAX = 0.01, 10_000.0
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 0.001, 300.0
SESSION_MIN_S, SESSION_MAX_S = 1.0, 1_800.0  # a broker takes 6 s to 30 min unless told otherwise
AGE_MIN_S, AGE_MAX_S = 1.0, 366 * 86_400.0

_HIDDEN: Final = frozenset({"ssl_password", "sasl_plain_password", "api_key_secret", "auth_token"})


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
    """

    events: tuple[str, ...]
    start: str | int = "latest"
    prefix: str = "streamer."
    partitions: int = 8
    replication: int = 1

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
    def dead_letters(self) -> str:
        """What could not be read."""
        return self.prefix + "dead-letters"


class AccountConfig(Struct, frozen=True):
    """One Twilio account: requests carry the API key, callbacks are signed with the auth token."""

    name: str
    account_sid: str
    api_key_sid: str
    api_key_secret: str
    auth_token: str = ""
    base_url: str = "https://api.twilio.com"
    concurrency: int = 64
    timeout_s: float = 10.0

    def __repr__(self) -> str:
        return _repr(self)


class SenderConfig(Sender, frozen=True):
    """A sender as declared: also its group (numbers that share a STOP) and its pace; 0 parts a second: no limit."""

    group: str = ""
    parts_per_s: float = 0.0


class HttpConfig(Struct, frozen=True):
    """Where our own server listens, and the address by which Twilio reaches it ("": not reachable)."""

    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""


class StoreConfig(Struct, frozen=True):
    """Where an owner keeps its state between reads of the changelog."""

    engine: str = "memory"
    path: str = "./state"


class Defaults(Struct, frozen=True):
    """What a mapping takes when it doesn't say."""

    region: str = "US"
    sender: str = ""
    max_age_s: float = 86_400.0


class Config(Struct, frozen=True):
    """Everything a command needs to know, read and validated; `path` is the streamer.yaml it came from."""

    kafka: KafkaConfig
    topics: TopicsConfig
    accounts: dict[str, AccountConfig]
    senders: dict[str, Sender]
    http: HttpConfig
    store: StoreConfig
    defaults: Defaults
    mappings: RuleSet
    path: Path


def load(path: Path, *, secrets: bool) -> Config:
    """Read a streamer.yaml (or the one in a folder) and the `mappings` folder beside it.

    `secrets` False: a `${NAME}` missing from the environment is read as "", for commands that don't connect.
    Raises: ConfigError, whose message has a line for every fault of every file.
    """
    file = path if _is_file(path) else path / FILE_NAME
    if not _is_file(file):
        raise ConfigError(f"{str(path)!r}: no {FILE_NAME} there; name one, or its folder, with --config")
    faults = Faults()
    document = Document(shown(file.name), faults, os.environ, needs_variables=secrets)
    config = _config(document, file)
    mappings = _mappings(file.parent / MAPPINGS_FOLDER, faults, config)
    faults.raise_any()
    assert config is not None, "an unreadable file has left its fault"
    return replace(config, mappings=mappings)


def _config(document: Document, file: Path) -> Config | None:
    """The configuration without its mappings; None if the file is no YAML."""
    if not _is_readable(document, file):
        return None
    section = Section(document, document.root)
    accounts = {name: _account(name, each) for name, each in section.sections("accounts").items()}
    senders: dict[str, Sender] = {
        name: _sender(name, each, accounts) for name, each in section.sections("senders").items()
    }
    config = Config(
        kafka=_kafka(section.section("kafka", is_required=True), file.parent),
        topics=_topics(section.section("topics", is_required=True)),
        accounts=accounts,
        senders=senders,
        http=_http(section.section("http")),
        store=_store(section.section("store"), file.parent),
        defaults=_defaults(section.section("defaults"), senders),
        mappings=RuleSet.of((), _event_filters(section)),
        path=file,
    )
    section.close()
    return config


def _mappings(folder: Path, faults: Faults, config: Config | None) -> RuleSet:
    """The mappings of a folder, none if it isn't there. Without a `config` they are checked as far as they can be."""
    files: dict[str, Path] = {}
    mappings = []
    for file in _mapping_files(folder, faults):
        document = Document(f"{MAPPINGS_FOLDER}/{shown(file.name)}", faults, environ=None, needs_variables=False)
        if not _is_readable(document, file):
            continue
        content = fields(document)
        mapping_id = _mapping_id(content, file.stem)
        first = files.setdefault(mapping_id, file)
        if first != file:
            text = f"{shown(first.name)} has this id already; give this one another `id`"
            document.fault(document.mark_at("id"), "id", text)
        mapping = _mapping(document, mapping_id, content, config)
        if mapping is not None and first == file:
            mappings.append(mapping)
    filters = config.mappings.filters if config else None
    try:
        return RuleSet.of(mappings, filters)
    except MappingError as error:
        for _, text in error.faults:
            faults.add(MAPPINGS_FOLDER, Mark(1, 1), "", text)
    return RuleSet.of((), filters)


def _mapping(document: Document, mapping_id: str, content: Any, config: Config | None) -> Rule | None:
    """One mapping, or None and its faults."""
    defaults = config.defaults if config else Defaults()
    senders = config.senders if config else {}
    try:
        return compile_rule(
            mapping_id, content, senders, RuleDefaults(defaults.region, defaults.sender, defaults.max_age_s)
        )
    except MappingError as error:
        for path, text in error.faults:
            is_unknowable = config is None and path == "send.from"
            # What could not be read is reported once, not again as missing.
            is_known = path != "" and (document.file, path) in document.faults
            if not is_unknowable and not is_known:
                document.fault(document.mark_at(path or "id"), shown(path) if path else "", text)
    return None


def _mapping_id(content: Any, stem: str) -> str:
    """The id of a mapping, taken out of its content; by default its file's name."""
    mapping_id = content.pop("id", stem) if isinstance(content, dict) else stem
    return str(mapping_id)  # 5 is as good an id as "5"


def _mapping_files(folder: Path, faults: Faults) -> list[Path]:
    """The mapping files of a folder, by name; hidden ones are an editor's."""
    try:
        files = sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        faults.add(MAPPINGS_FOLDER, Mark(1, 1), "", f"cannot be read: {error.strerror}")
        return []
    return [file for file in files if file.suffix in (".yaml", ".yml") and not file.name.startswith(".")]


def _is_readable(document: Document, file: Path) -> bool:
    """Whether a file could be read and composed; else its fault is noted."""
    try:
        if file.is_file():
            with file.open("rb") as stream:
                return document.compose(stream.read(DOCUMENT_BYTES_MAX + 1))
        text = "not a file"
    except OSError as error:
        text = f"cannot be read: {error.strerror}"
    document.fault(Mark(1, 1), "", text)
    return False


def _kafka(section: Section, folder: Path) -> KafkaConfig:
    # "" where it isn't given or is faulty, which a fault of its own says.
    protocol = section.choice("security_protocol", "", SECURITY_PROTOCOLS)
    mechanism = section.choice("sasl_mechanism", "PLAIN", SASL_MECHANISMS)
    config = KafkaConfig(
        bootstrap_servers=section.text("bootstrap_servers", check=brokers_fault).replace(" ", ""),
        group=section.text("group", "streamer", name_fault),
        client_id=section.text("client_id", "streamer", name_fault),
        security_protocol=protocol or SECURITY_PROTOCOLS[0],
        ssl_cafile=_file(section, "ssl_cafile", folder),
        ssl_certfile=_file(section, "ssl_certfile", folder),
        ssl_keyfile=_file(section, "ssl_keyfile", folder),
        ssl_password=section.text("ssl_password", ""),
        ssl_check_hostname=section.flag("ssl_check_hostname", True),
        sasl_mechanism=mechanism,
        sasl_plain_username=section.text("sasl_plain_username", ""),
        sasl_plain_password=section.text("sasl_plain_password", ""),
        sasl_kerberos_service_name=section.text("sasl_kerberos_service_name", "kafka"),
        sasl_kerberos_domain_name=section.text("sasl_kerberos_domain_name", ""),
        session_timeout_s=section.duration_s("session_timeout", 10.0, SESSION_MIN_S, SESSION_MAX_S),
        enable_idempotence=section.flag("enable_idempotence", True),
    )
    section.close()
    if protocol or "security_protocol" not in section:
        _check_security(section, protocol, mechanism)
    return config


def _check_security(section: Section, protocol: str, mechanism: str) -> None:
    """Note security settings that would be ignored, and those that are missing."""
    for key in section:
        if key.startswith("ssl_") and not protocol.endswith("SSL"):
            section.fault(key, "is ignored without security_protocol: SSL or SASL_SSL")
        if key.startswith("sasl_") and not protocol.startswith("SASL"):
            section.fault(key, "is ignored without security_protocol: SASL_SSL or SASL_PLAINTEXT")
    if protocol.startswith("SASL") and mechanism != "GSSAPI":
        for key in ("sasl_plain_username", "sasl_plain_password"):
            if key not in section:
                section.fault(key, f"is missing; {protocol} with {mechanism} needs it")
    is_kerberos = protocol.startswith("SASL") and mechanism == "GSSAPI"
    if is_kerberos and section.document.needs_variables and find_spec("gssapi") is None:
        section.fault("sasl_mechanism", "GSSAPI needs the Python package gssapi, which is not installed")


def _topics(section: Section) -> TopicsConfig:
    start = section.text("start", "latest", start_fault)
    events = section.texts("events", is_required=True)
    config = TopicsConfig(
        events=tuple(name for name, _ in events),
        start=start if start in ("earliest", "latest") else instant_ms(start),
        prefix=section.text("prefix", "streamer.", topic_fault),
        partitions=section.whole("partitions", 8, 1, PARTITIONS_MAX),
        replication=section.whole("replication", 1, 1, REPLICATION_MAX),
    )
    section.close()
    own = {topic_identity(config.prefix + name) for name in OWN_TOPICS}
    seen: set[str] = set()
    for name, mark in events:
        identity = topic_identity(name)
        if fault := topic_fault(name):
            section.fault("events", fault, mark)
        elif identity in own:
            section.fault("events", "is a topic of our own, which would be read again for ever; change `prefix`", mark)
        elif identity in seen:
            section.fault("events", "is listed twice; remove one", mark)
        seen.add(identity)
    return config


def _account(name: str, section: Section) -> AccountConfig:
    if fault := name_fault(name):
        section.fault(None, fault)
    config = AccountConfig(
        name=name,
        account_sid=section.text("account_sid", check=sid_check("AC")),
        api_key_sid=section.text("api_key_sid", check=sid_check("SK")),
        api_key_secret=section.text("api_key_secret"),
        auth_token=section.text("auth_token", ""),
        base_url=section.text("base_url", "https://api.twilio.com", url_fault).rstrip("/"),
        concurrency=section.whole("concurrency", 64, 1, CONCURRENCY_MAX),
        timeout_s=section.duration_s("timeout", 10.0, TIMEOUT_MIN_S, TIMEOUT_MAX_S),
    )
    section.close()
    return config


def _sender(name: str, section: Section, accounts: Collection[str]) -> Sender:
    if fault := name_fault(name):
        section.fault(None, fault)
    has_number, has_service = "from" in section, "messaging_service" in section
    if has_number == has_service:
        which = "both are given; remove one" if has_number else "none is given"
        section.fault(None, f"needs either `from` or `messaging_service`: {which}")
    channels = section.texts("channels")
    sender = SenderConfig(
        name=name,
        account=_sender_account(section, accounts),
        number=section.text("from", None if has_number else "", from_fault),
        service_sid=section.text("messaging_service", None if has_service else "", sid_check("MG")),
        channels=tuple(channel for channel, _ in channels),
        group=section.text("group", "", name_fault),
        parts_per_s=section.number("parts_per_s", 0.0, PARTS_PER_S_MIN, PARTS_PER_S_MAX),
    )
    for channel, mark in channels:
        if channel not in CHANNELS:
            section.fault("channels", f"unknown channel; {nearest(channel, CHANNELS)}", mark)
    section.close()
    return sender


def _sender_account(section: Section, accounts: Collection[str]) -> str:
    """The account of a sender; without a word the only one."""
    account = section.text("account", "")
    if account and account not in accounts:
        section.fault("account", f"no such account; {nearest(account, accounts)}")
    if account:
        return account
    if len(accounts) == 1:
        return next(iter(accounts))
    if not accounts:
        section.fault("account", "there is none; declare one under `accounts`")
    elif section.document.needs_variables or "account" not in section:
        section.fault("account", f"is missing; there are {', '.join(accounts)}")
    return ""


def _http(section: Section) -> HttpConfig:
    host, _, port = section.text("listen", "127.0.0.1:8080", listen_fault).rpartition(":")
    config = HttpConfig(host.strip("[]"), int(port), section.text("public_url", "", url_fault).rstrip("/"))
    section.close()
    return config


def _store(section: Section, folder: Path) -> StoreConfig:
    config = StoreConfig(
        engine=section.choice("engine", STORE_ENGINES[0], STORE_ENGINES),
        path=str(folder / section.text("path", "./state")),
    )
    section.close()
    return config


def _defaults(section: Section, senders: Collection[str]) -> Defaults:
    sender = section.text("sender", "")
    if sender and sender not in senders:
        section.fault("sender", f"no such sender; {nearest(sender, senders)}")
    config = Defaults(
        region=section.text("region", "US", region_fault),
        sender=sender,
        max_age_s=section.duration_s("max_age", 86_400.0, AGE_MIN_S, AGE_MAX_S),
    )
    section.close()
    return config


def _event_filters(section: Section) -> EventFilters:
    """What stands before every mapping: `integration` and `filters`."""
    integration = section.text("integration", INTEGRATION_DEFAULT)
    documents = section.plain("filters", [])
    try:
        return compile_event_filters(documents, integration)
    except MappingError as error:
        for path, text in error.faults:
            section.fault("filters", f"{path}: {text}" if path else text)
    return EventFilters(integration)


def _file(section: Section, key: str, folder: Path) -> str:
    """A file's path, from the configuration's own folder; that it exists is asked by who will read it."""
    name = section.text(key, "")
    if not name:
        return ""
    file = folder / name
    if section.document.needs_variables and not _is_file(file):
        section.fault(key, "no such file; its path starts from the folder of this configuration")
    return str(file)


def _is_file(path: Path) -> bool:
    """Whether a file is there; a path that can't be looked at is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _repr(config: KafkaConfig | AccountConfig) -> str:
    """The fields of a Struct without its secrets, so that no log or traceback can carry one."""
    fields = {name: "…" if name in _HIDDEN and value else value for name, value in asdict(config).items()}
    return f"{type(config).__name__}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"

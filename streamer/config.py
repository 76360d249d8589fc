"""The configuration: the only reader of files and of the environment; typed, validated, frozen.

`load` reads a streamer.yaml and the mappings beside it, and reports every fault of all files at once.
Source: README, "Configuration".
"""

import os
from base64 import b64decode
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from streamer.config_checks import (
    NUMBER_KEY,
    brokers_fault,
    consent_fault,
    from_fault,
    instant_ms,
    listen_fault,
    name_fault,
    public_url_fault,
    sid_check,
    start_fault,
    token_key_fault,
    topic_fault,
    topic_identity,
    url_fault,
)
from streamer.config_model import (
    DRY,
    MAPPINGS_FOLDER,
    AccountConfig,
    Config,
    Defaults,
    HttpConfig,
    KafkaConfig,
    StoreConfig,
    TopicsConfig,
)
from streamer.config_outcomes import outcomes_of
from streamer.config_policies import common_of, shipped_presets, timezone_of
from streamer.config_section import TEXT_OR_NUMBER, Section, fields
from streamer.config_yaml import Document, Faults, Mark, nearest, shown
from streamer.core.channels import CHANNELS, Sender
from streamer.core.consent import CONSENTS_MAX, MODES, OPT_OUT, ConsentRules, key_of
from streamer.core.event_filters import INTEGRATION_DEFAULT, EventFilters, compile_event_filters
from streamer.core.identity import BLOCKED, BLOCKED_MAX, Identities, pattern_fault
from streamer.core.people import People
from streamer.core.phone_region import region_fault
from streamer.core.policies import Common
from streamer.core.rule_compiler import compile_rule
from streamer.core.rules import WAIT_MAX_S, Rule, RuleDefaults, RuleSet
from streamer.errors import ConfigError, MappingError

FILE_NAME: Final = "streamer.yaml"
SUFFIXES: Final = (".yaml", ".yml")  # of a mapping's file
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
STORE_ENGINES: Final = ("memory", "lmdb")
SHARED, ONE = "shared", "one"  # who sends a sender's messages: each owner its share of the pace, or one partition all
SENDER_OWNERS: Final = (SHARED, ONE)
OVERLAY, UPDATE = "overlay", "update"  # what an event's `context.traits` are: seen by that event, or kept

PARTITIONS_MAX: Final = 10_000
REPLICATION_MAX: Final = 100  # far above any cluster's count of brokers; a slip of the finger lies beyond it
CONCURRENCY_MAX: Final = 10_000
PACE_MIN, PACE_MAX = 0.01, 10_000.0  # a second, of a sender's parts or an account's requests
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 0.001, 300.0
SESSION_MIN_S, SESSION_MAX_S = 1.0, 1_800.0  # a broker takes 6 s to 30 min unless told otherwise
AGE_MIN_S, AGE_MAX_S = 1.0, 366 * 86_400.0


class Source(NamedTuple):
    """A mapping that was read: its rule, what it says without its `id`, and where (`document.mark_at`)."""

    rule: Rule
    content: dict[str, Any]
    document: Document
    file: Path


class Loaded(NamedTuple):
    """A configuration with its places: the document of its streamer.yaml, and the mappings, disabled ones too."""

    config: Config
    document: Document
    sources: tuple[Source, ...]


def load(path: Path, *, secrets: bool) -> Config:
    """Read a streamer.yaml (or the one in a folder) and the `mappings` folder beside it.

    `secrets` False: a `${NAME}` missing from the environment is read as "", for commands that don't connect.
    Raises: ConfigError, whose message has a line for every fault of every file.
    """
    return load_with_places(path, secrets=secrets).config


def load_with_places(path: Path, *, secrets: bool) -> Loaded:
    """What `load` reads, with the place of everything in it. Raises: ConfigError."""
    file = path if _is_file(path) else path / FILE_NAME
    if not _is_file(file):
        raise ConfigError(f"{str(path)!r}: no {FILE_NAME} there; name one, or its folder, with --config")
    faults = Faults()
    document = Document(shown(file.name), faults, os.environ, needs_variables=secrets)
    config = read_config(document, file) if document.read(file) else None
    files, unread = _mapping_files(file.parent / MAPPINGS_FOLDER, faults)
    sources = tuple(_mappings(files, faults, config))
    try:
        before = config.mappings if config else RuleSet.of(())
        rules = (each.rule for each in sources)
        mappings = RuleSet.of(rules, before.filters, before.people, before.outcomes, before.common, before.stop_groups)
    except MappingError as error:
        for _, text in error.faults:
            faults.add(MAPPINGS_FOLDER, Mark(1, 1), "", text)
    faults.raise_any()
    assert config is not None, "an unreadable file has left its fault"
    disabled = tuple(each.rule.id for each in sources if not each.rule.enabled)
    return Loaded(replace(config, mappings=mappings, unread=unread, disabled=disabled), document, sources)


def read_config(document: Document, file: Path) -> Config:
    """The configuration of a composed document, without its mappings; its faults are noted."""
    section = Section(document, document.root)
    accounts = {name: _account(name, each) for name, each in section.sections("accounts").items()}
    senders: dict[str, Sender] = {
        name: _sender(name, each, accounts) for name, each in section.sections("senders").items()
    }
    outcomes = outcomes_of(section.section("outcomes", key_kinds=TEXT_OR_NUMBER))
    defaults = _defaults(section.section("defaults"), senders)
    common = common_of(section, defaults.timezone)
    groups = {name: sender.stop_group for name, sender in senders.items()}
    config = Config(
        kafka=_kafka(section.section("kafka", is_required=True), file.parent),
        topics=_topics(section.section("topics", is_required=True)),
        accounts=accounts,
        senders=senders,
        http=_http(section.section("http")),
        store=_store(section.section("store"), file.parent),
        defaults=defaults,
        mappings=RuleSet.of((), _event_filters(section), _people(section), outcomes, common, groups),
        path=file,
    )
    section.close()
    return config


def _mappings(files: list[Path], faults: Faults, config: Config | None) -> Iterator[Source]:
    """The mappings of these files. Without a `config` they are checked as far as they can be."""
    by_id: dict[str, Path] = {}
    for file in files:
        document = Document(f"{MAPPINGS_FOLDER}/{shown(file.name)}", faults, environ=None, needs_variables=False)
        if not document.read(file):
            continue
        content = fields(document)
        mapping_id = _mapping_id(content, file.stem)
        first = by_id.setdefault(mapping_id, file)
        if first != file:
            text = f"{shown(first.name)} has this id already; give this one another `id`"
            document.fault(document.mark_at("id"), "id", text)
        mapping = _mapping(document, mapping_id, content, config)
        if mapping is not None and first == file:
            yield Source(mapping, content, document, file)


def read_mapping(document: Document, default_id: str, file: Path, config: Config) -> Source | None:
    """The mapping of a composed document that is no file of its own, or None; its faults are noted."""
    content = fields(document)
    mapping = _mapping(document, _mapping_id(content, default_id), content, config)
    return Source(mapping, content, document, file) if mapping is not None else None


def _mapping(document: Document, mapping_id: str, content: Any, config: Config | None) -> Rule | None:
    """One mapping, or None and its faults."""
    defaults = config.defaults if config else Defaults()
    senders = config.senders if config else {}
    common = config.mappings.common if config else Common(presets=shipped_presets())
    taken = RuleDefaults(
        defaults.region, defaults.sender, defaults.max_age_s, defaults.wait_s, defaults.strict_numbers, common
    )
    try:
        return compile_rule(mapping_id, content, senders, taken)
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


def _mapping_files(folder: Path, faults: Faults) -> tuple[list[Path], tuple[str, ...]]:
    """The mapping files of a folder by name, none if it isn't there; and what else is in it.

    Hidden files and those that end in ~ are an editor's, and are neither.
    """
    try:
        files = sorted(file for file in folder.iterdir() if not (file.name.startswith(".") or file.name.endswith("~")))
        others = ((file.name, "/" if file.is_dir() else "") for file in files if file.suffix not in SUFFIXES)
        names = tuple(f"{MAPPINGS_FOLDER}/{shown(name)}{slash}" for name, slash in others)
    except FileNotFoundError:
        return [], ()
    except OSError as error:
        faults.add(MAPPINGS_FOLDER, Mark(1, 1), "", f"cannot be read: {error.strerror}")
        return [], ()
    return [file for file in files if file.suffix in SUFFIXES], names


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
        ssl_password=section.secret("ssl_password", ""),
        ssl_check_hostname=section.flag("ssl_check_hostname", True),
        sasl_mechanism=mechanism,
        sasl_plain_username=section.text("sasl_plain_username", ""),
        sasl_plain_password=section.secret("sasl_plain_password", ""),
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
    own = {topic_identity(config.prefix + dry + name) for name in OWN_TOPICS for dry in ("", f"{DRY}.")}
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
        api_key_secret=section.secret("api_key_secret"),
        auth_token=section.secret("auth_token", ""),
        base_url=section.text("base_url", "https://api.twilio.com", url_fault).rstrip("/"),
        concurrency=section.whole("concurrency", 64, 1, CONCURRENCY_MAX),
        timeout_s=section.duration_s("timeout", 10.0, TIMEOUT_MIN_S, TIMEOUT_MAX_S),
        requests_per_s=section.number("requests_per_s", 0.0, PACE_MIN, PACE_MAX),
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
    sender = Sender(
        name=name,
        account=_sender_account(section, accounts),
        number=section.text("from", None if has_number else "", from_fault),
        service_sid=section.text("messaging_service", None if has_service else "", sid_check("MG")),
        channels=tuple(channel for channel, _ in channels),
        group=section.text("group", "", name_fault),
        parts_per_s=section.number("parts_per_s", 0.0, PACE_MIN, PACE_MAX),
        has_one_owner=section.choice("owner", SENDER_OWNERS[0], SENDER_OWNERS) == ONE,
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
    public_url = section.text("public_url", "", public_url_fault).rstrip("/")
    keys = section.section("token_keys", key_kinds=TEXT_OR_NUMBER)
    if public_url and not any(keys):
        section.fault("token_keys", "is missing; public_url needs it, for the addresses that Twilio calls back")
    section.close()
    for version in keys:
        if not NUMBER_KEY.fullmatch(version):
            keys.fault(version, "a key must be a whole number, as in 1: …")
    texts = {int(each): keys.text(each, check=token_key_fault) for each in keys if NUMBER_KEY.fullmatch(each)}
    token_keys = {version: b64decode(text) for version, text in texts.items() if text}  # the others have their fault
    return HttpConfig(host.strip("[]"), int(port), public_url, token_keys)


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
        strict_numbers=section.flag("strict_numbers", False),
        wait_s=section.duration_s("identify_wait", 600.0, 0.0, WAIT_MAX_S),
        timezone=timezone_of(section),
    )
    section.close()
    return config


def _people(section: Section) -> People:
    """How people are told apart and what is learnt of them: `identity`, `profile` and `consent`."""
    identity, profile = section.section("identity"), section.section("profile")
    blocked = identity.texts("blocked")
    if len(blocked) > BLOCKED_MAX:
        text = f"{len(blocked)} patterns; at most {BLOCKED_MAX}: join some, as in test|demo"
        identity.fault("blocked", text, blocked[BLOCKED_MAX][1])
    for pattern, mark in blocked:
        if fault := pattern_fault(pattern):
            identity.fault("blocked", fault, mark)
    mode = profile.choice("context_traits", OVERLAY, (OVERLAY, UPDATE))
    identity.close()
    profile.close()
    patterns = tuple(pattern for pattern, _ in blocked) or BLOCKED
    return People(Identities(patterns), mode == UPDATE, _consent(section.section("consent")))


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


def _consent(section: Section) -> ConsentRules:
    """Whom to ask, and the traits that answer."""
    traits = section.section("traits")
    keys = {name: traits.text(name, check=consent_fault) for name in traits}
    if len(keys) > CONSENTS_MAX:
        section.fault("traits", f"{len(keys)} traits; at most {CONSENTS_MAX}")
    consent = ConsentRules(
        mode=section.choice("mode", OPT_OUT, MODES),
        traits={name: key_of(key) for name, key in keys.items() if key},
    )
    section.close()
    return consent


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

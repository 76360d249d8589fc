"""The configuration of a dry run: everything of its own where the live service writes, and the rest the same."""

from pathlib import Path

from msgspec.structs import replace

from streamer.config_model import Config, Defaults, HttpConfig, KafkaConfig, StoreConfig, TopicsConfig, dry
from streamer.core.rules import RuleSet

LIVE = Config(
    kafka=KafkaConfig("127.0.0.1:9092", group="shop"),
    topics=TopicsConfig(("events.track",), start="earliest", prefix="shop.", partitions=3),
    accounts={},
    senders={},
    http=HttpConfig(public_url="https://sms.example.com", token_keys={1: b"k" * 32}),
    store=StoreConfig("lmdb", "/var/lib/streamer"),
    defaults=Defaults(),
    mappings=RuleSet.of(()),
    path=Path("streamer.yaml"),
)


def written(topics: TopicsConfig) -> set[str]:
    return {topics.by_user, topics.state, topics.deliveries, topics.dead_letters}


def test_a_dry_run_writes_to_nothing_that_a_live_service_writes_to():
    other = dry(LIVE)
    assert {f"shop.dry.{name}" for name in ("by-user", "state", "deliveries", "dead-letters")} == written(other.topics)
    assert not written(other.topics) & written(LIVE.topics)
    assert ("shop.dry", "/var/lib/streamer/dry") == (other.kafka.group, other.store.path)


def test_a_dry_run_reads_the_same_events_and_lives_suppressions():
    """A STOP holds there too: it would show messages that nobody is going to get."""
    other = dry(LIVE)
    assert ("shop.suppressions", "shop.suppressions") == (LIVE.topics.suppressions, other.topics.suppressions)
    topics = replace(other.topics, prefix=LIVE.topics.prefix, suppressions_of="")
    assert LIVE.topics == topics


def test_nothing_calls_back_to_a_dry_run():
    assert ("", {}) == (dry(LIVE).http.public_url, dry(LIVE).http.token_keys)


def test_only_a_dry_run_is_dry():
    assert (False, True) == (LIVE.is_dry, dry(LIVE).is_dry)

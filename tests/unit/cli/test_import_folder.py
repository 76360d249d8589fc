"""What the loader refuses after all is left out of an imported folder and told; nothing else suffers."""

import pytest
from msgspec.structs import replace

from streamer.cli.import_folder import load_faults, refused, take_over
from streamer.errors import ConfigError
from streamer.importing.export import Subscription
from streamer.importing.folder import import_all

MAPPING = {
    "channel": "SMS",
    "senderType": "Phone number",
    "contentTemplateType": "Inline",
    "toPhoneNumber": "+12025550101",
    "fromPhoneNumber": "+12025550100",
    "inlineBody": "x",
}
BOTH = [Subscription("$", name, "", True, 'type = "track"', MAPPING, {}) for name in "ab"]


def broken(name, content):
    imported = import_all(BOTH, "x.json")
    return replace(imported, files=imported.files | {name: content})


def test_what_loads_has_no_fault():
    imported = take_over(BOTH, "x.json")
    assert ([], ["a", "b"], ()) == (
        load_faults(imported),
        [message.id for message in imported.messages],
        imported.skipped,
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("when: type = 5 5\nsend: {}", "can't be loaded: when: "),
        ("when: [", "can't be loaded: not YAML"),
        ('when: type = "track"\nsend: {from: nobody, body: "${A}"}', "can't be loaded: send.from: no such sender"),
    ],
)
def test_a_mapping_that_cannot_be_loaded_is_skipped_with_its_fault(content, reason):
    imported = broken("mappings/b.yaml", content)
    [skipped] = refused(imported, load_faults(imported))
    assert (BOTH[1], True) == (skipped.source, skipped.reason.startswith(reason)), skipped.reason


@pytest.mark.parametrize("content", ["kafka: [", "kafka: {}"])
def test_what_is_wrong_with_all_is_no_mappings_fault(content):
    imported = broken("streamer.yaml", content)
    with pytest.raises(ConfigError, match="nothing is written"):
        refused(imported, load_faults(imported))

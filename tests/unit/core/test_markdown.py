"""YAML blocks of Markdown: which there are, what they look like, and where they begin."""

import pytest

from streamer.core.markdown import CONFIG, MAPPING, yaml_blocks

MAPPING_TEXT = 'when: type = "track"\nsend: {body: Hi}'


def blocks(text):
    return [(block.line, block.kind, block.text.rstrip("\n")) for block in yaml_blocks(text)]


def fenced(inside, info="yaml", fence="```"):
    return f"{fence}{info}\n{inside}\n{fence}\n"


@pytest.mark.parametrize("info", ["yaml", "yml", " YAML", "yaml title=x", "yaml{1,3}"])
def test_a_yaml_block_is_found_whatever_stands_behind_the_word(info):
    assert [(4, MAPPING, MAPPING_TEXT)] == blocks("text\n\n" + fenced(MAPPING_TEXT, info))


@pytest.mark.parametrize("info", ["", "json", "yamllint", "sh yaml"])
def test_other_blocks_are_left_alone(info):
    assert [] == blocks(fenced(MAPPING_TEXT, info))


def test_a_block_knows_its_line_however_lines_end():
    (block,) = yaml_blocks("a\r\nb\r\n```yaml\r\nx: 1\r\ny: 2\r\n```\r\n")
    assert (4, ["x: 1", "y: 2"]) == (block.line, block.text.rstrip().split("\r\n"))


def test_a_block_inside_another_is_its_text():
    """A page about Markdown shows a fence of three in one of four."""
    assert [] == blocks(fenced(fenced(MAPPING_TEXT).strip(), "markdown", "````"))
    assert [] == blocks(fenced(fenced(MAPPING_TEXT).strip(), "text", "~~~"))


def test_an_indented_block_keeps_its_columns():
    """As in a list."""
    assert [(3, MAPPING, '  when: type = "track"\n  send: {body: Hi}')] == blocks(
        '- a list\n\n  ```yaml\n  when: type = "track"\n  send: {body: Hi}\n  ```\n'.replace("\n\n", "\n")
    )


def test_a_block_that_is_never_closed_goes_to_the_end():
    assert [(2, MAPPING, MAPPING_TEXT)] == blocks("```yaml\n" + MAPPING_TEXT)


def test_documents_of_one_block_are_told_apart():
    both = f"{MAPPING_TEXT}\n---\n# nothing\nkafka: 1\ntopics: 2"
    assert [(2, MAPPING), (5, CONFIG)] == [(line, kind) for line, kind, _ in blocks(fenced(both))]


def test_dashes_in_a_text_end_no_document():
    body = 'when: type = "track"\nsend:\n  body: |-\n    a\n    ---\n    b'
    assert [(2, MAPPING, body)] == blocks(fenced(body))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (MAPPING_TEXT, MAPPING),
        ("'when': x is\n\"send\": [", MAPPING),
        ("kafka:\ntopics: {}", CONFIG),
        ("send: {body: Hi}", ""),
        ("a:\n  when: x\n  send: y", ""),
        ("kafka: {}", ""),
        ("just text", ""),
    ],
)
def test_a_block_is_known_by_its_outermost_keys(text, kind):
    """Also one with a fault, which is what linting is for."""
    assert [kind] == [each for _, each, _ in blocks(fenced(text))]

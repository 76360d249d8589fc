"""Validators of the schemas, and documents as an editor reads them."""

import json
from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from streamer.cli.schemas import DOCUMENTS
from streamer.core.schemas import schema_json


class Loader(yaml.SafeLoader):
    """YAML whose dates are text, as they are for the loader and for an editor."""


Loader.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


def from_yaml(text: str) -> Any:
    return yaml.load(text, Loader)


@cache
def schema(name: str) -> dict[str, Any]:
    """A schema as it is written."""
    (document,) = [each for each in DOCUMENTS if each.name == name]
    return json.loads(schema_json(document))


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(schema(name))


def faults(name: str, value: Any) -> list[str]:
    """What the schema has against a document, each with its place."""
    return [f"{'.'.join(map(str, each.path))}: {each.message}" for each in validator(name).iter_errors(value)]

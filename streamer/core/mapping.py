"""Shim."""

from typing import Any, Final, Literal

from msgspec import Struct

from streamer.core.template import Missing as Missing
from streamer.core.template import Template, compile_template
from streamer.errors import MappingError, TemplateError

MissingPolicy = Literal["suppress", "empty"]


class _Sentinel:
    pass


NOT_CONSTANT: Final = _Sentinel()
UNDEFINED: Final = _Sentinel()


class Value(Struct, frozen=True):
    constant: Any
    template: Template | None

    @property
    def paths(self) -> tuple[str, ...]:
        return self.template.paths if self.template else ()

    def resolve(self, scope: Any) -> Any:
        return self.template.render(scope) if self.template else self.constant


def compile_value(obj: object, *, path: str, missing: MissingPolicy) -> Value:
    if not isinstance(obj, str):
        return Value(obj, None)
    try:
        template = compile_template(obj)
    except TemplateError as exc:
        raise MappingError([(path, str(exc))]) from None
    return Value(NOT_CONSTANT if template.constant is None else template.constant, template)

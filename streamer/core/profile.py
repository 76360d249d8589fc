"""One person's traits, folded from identify events: the last writer by event time wins, trait by trait."""

from collections.abc import Mapping
from typing import Any, Final

TRAITS_MAX: Final = 300  # Segment rejects an identify with more
Trait = tuple[Any, int]  # value (None: deleted then), event time in ms that set it


def fold(traits: dict[str, Trait], update: Mapping[str, Any], event_ms: int) -> bool:
    """Write an identify's traits over `traits`; True if anything changed.

    A trait of an older event never overwrites a newer one; null deletes, and its time stays so that an older value
    cannot return. Nested traits replace whole. Names beyond TRAITS_MAX are left out.
    """
    is_changed = False
    for name, value in update.items():
        known = traits.get(name)
        if known is None:
            if len(traits) >= TRAITS_MAX:
                continue
        elif known[1] > event_ms or (known[1] == event_ms and known[0] == value):
            continue
        traits[name] = (value, event_ms)
        is_changed = True
    return is_changed


def values(traits: Mapping[str, Trait]) -> dict[str, Any]:
    """The traits as a filter or template sees them: name to value, deleted ones absent."""
    return {name: value for name, (value, _) in traits.items() if value is not None}

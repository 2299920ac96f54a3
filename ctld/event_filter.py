"""Which events somebody wants: checked once, then asked for every event."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Self, TypeAlias

import msgspec

from ctld.errors import InvalidOptions

__all__ = ["MAX_TERMS", "EventFilter", "Scalar"]

# How many types and option values one subscription may name together.  A daemon has dozens
# of types; the values are names of resources.  Every type costs an entry in the bus's index.
MAX_TERMS: Final = 1024

Scalar: TypeAlias = str | int | float | bool | None
"""What a filter compares: a JSON value that is no object and no list."""

_SCALARS: Final = (str, int, float, type(None))


class EventFilter(msgspec.Struct, frozen=True):
    """Which events a subscription wants; build it with `EventFilter.of()`.

    Attributes:
        types: The types; none at all: every type.
        opts: For each key the wanted values, each with whether it is a boolean, because
            JSON's `true` is not 1 although Python's is.
    """

    types: frozenset[str] = frozenset()
    opts: tuple[tuple[str, frozenset[tuple[bool, Scalar]]], ...] = ()

    @classmethod
    def of(cls, types: Iterable[str] = (), opts: Mapping[str, object] | None = None) -> Self:
        """Check and prepare a filter.

        Args:
            types: The wanted types; none: every type.
            opts: For each key the value that an event must have there, or a list of values
                of which it must have one.

        Raises:
            InvalidOptions: A value is an object or a list of lists, or there are too many.
        """
        listed_types = list(types)
        listed = [(key, _listed(value)) for key, value in (opts or {}).items()]
        # Before they are hashed: numbers can be chosen so that a set of many takes minutes to make.
        if len(listed_types) + sum(max(len(values), 1) for _, values in listed) > MAX_TERMS:
            raise InvalidOptions(f"a subscription names at most {MAX_TERMS} types and values")
        return cls(frozenset(listed_types), tuple((key, _wanted(key, values)) for key, values in listed))

    @property
    def selective(self) -> bool:
        """Whether there are events that it does not want."""
        return bool(self.types or self.opts)

    def matches(self, type: str, opts: Mapping[str, Any]) -> bool:
        """Tell whether an event of this type and with these details is wanted."""
        return (not self.types or type in self.types) and self.wants(opts)

    def wants(self, opts: Mapping[str, Any]) -> bool:
        """Tell whether an event of a wanted type with these details is wanted.

        Only scalars are looked up: they hash and compare in bounded time whatever the
        subscriber asked for, and never raise into the publisher.
        """
        for key, wanted in self.opts:
            if key not in opts:
                return False
            value = opts[key]
            if not isinstance(value, _SCALARS) or (isinstance(value, bool), value) not in wanted:
                return False
        return True


def _listed(value: object) -> Collection[object]:
    return value if isinstance(value, list | tuple | set | frozenset) else [value]


def _wanted(key: str, values: Collection[object]) -> frozenset[tuple[bool, Scalar]]:
    terms: set[tuple[bool, Scalar]] = set()
    for one in values:
        if not isinstance(one, _SCALARS):
            raise InvalidOptions(
                f"the filter on {key!r} is neither a plain value nor a list of plain values", path=f"$.opts.{key}"
            )
        terms.add((isinstance(one, bool), one))
    return frozenset(terms)

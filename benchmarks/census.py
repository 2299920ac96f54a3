"""A server that can count what it holds: how many objects of each type, and how many bytes they take."""

import gc
import sys
import types
from collections.abc import Mapping
from typing import Any, Final

import ctld

__all__ = ["Census", "census"]

Census = Mapping[str, tuple[int, int]]
"""By type: how many objects there are, and how many bytes they take."""

# What is as old as the program, and leads to all of it.
_ANCIENT: Final = (type, types.ModuleType, types.FunctionType, types.CodeType, types.BuiltinFunctionType)

# The attributes of an object without slots lie in an array that no size includes: a word for
# each, and a header.  Classes written in C have none of it.
_WORD: Final = 8
_MADE_BY_CLASS: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE

commands = ctld.CommandRegistry[None]()


@commands.command("census", role="anyone")
async def census_of_server(ctx: ctld.Context) -> dict[str, tuple[int, int]]:
    """Count the objects of the process."""
    return dict(census())


def census() -> Census:
    """Count all objects that the collector knows, and those that they refer to, with the bytes they take."""
    gc.collect()
    seen: set[int] = set()
    counts: dict[str, list[int]] = {}
    waiting: list[Any] = gc.get_objects()
    seen.update(map(id, (seen, counts, waiting)))
    while waiting:
        something = waiting.pop()
        if id(something) in seen or isinstance(something, _ANCIENT):
            continue
        seen.add(id(something))
        entry = counts.setdefault(name_of(something), [0, 0])
        entry[0] += 1
        entry[1] += sys.getsizeof(something) + _attributes_size(something)
        waiting.extend(gc.get_referents(something))
    return {name: (count, size) for name, (count, size) in counts.items()}


def name_of(something: object) -> str:
    """Name the kind of an object; a coroutine and a bound method after whose it is."""
    kind = type(something)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(something, types.CoroutineType):
        return f"{name} {something.__qualname__}()"
    if isinstance(something, types.MethodType):
        return f"{name} {something.__func__.__qualname__}"
    return name


def _attributes_size(something: object) -> int:
    """Return about what the attributes take of an object without slots, which `sys.getsizeof()` leaves out."""
    kind = type(something)
    if not kind.__dictoffset__ or not kind.__flags__ & _MADE_BY_CLASS or isinstance(something, type):
        return 0
    # A dictionary would be an object of its own, and asking for it would make one.
    return _WORD * (len(gc.get_referents(something)) + 1)


async def main(path: str) -> None:
    """Serve on a UNIX socket until killed."""
    limits = ctld.Limits(max_connections=32768)
    server = ctld.Server(commands=commands, listen=[f"unix:{path}"], limits=limits)
    await server.start()
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    ctld.run(main(*sys.argv[1:]))

"""JSON as this wire has it: what is accepted, and how every value is written.

msgspec's JSON is the rule for every type; orjson writes, because it is faster.  Where the
two differ, and where orjson refuses, the value first becomes builtins as msgspec has them.
"""

import contextlib
import re
from collections.abc import Callable
from pathlib import PurePath
from typing import Any, Final

import msgspec
import orjson

from ctld.errors import LocalProtocolError
from ctld.secret import BLANK, Secret

__all__ = ["MAX_NESTING", "decode_deep", "encode", "is_suspect", "is_too_deep"]

# msgspec decodes and orjson encodes recursively; what is nested deeper than this is no
# honest request.
MAX_NESTING: Final = 1000

# orjson refuses what is nested deeper than 1024.  As many brackets around the text as make
# up the difference turn that into a check of our own bound, at the speed of orjson.
_PADDING: Final = 1024 - MAX_NESTING

# Below this many brackets no text can exhaust the stack, whoever decodes it.
_SAFE_BRACKETS: Final = 100

# A string that does not end takes all the rest, so that nothing is looked at twice.
_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)

# orjson makes a float of an integer beyond 64 bits, which takes this many digits at least.
_LARGE_INTEGER: Final = re.compile(rb"[0-9]{19}")

# How a value of a subclass becomes one of its base: by the base's own means, whatever the
# subclass makes of `str()` and the like, because orjson also sees only the base.
_BUILTINS: Final[dict[type[Any], Callable[[Any], Any]]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict,
    list: list,
    tuple: tuple,
}

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

_ENCODE_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def is_suspect(text: bytes | bytearray) -> bool:
    """Tell whether a text has so many brackets that it may be nested too deeply."""
    return text.count(b"[") + text.count(b"{") > _SAFE_BRACKETS


def is_too_deep(text: bytes | bytearray) -> bool:
    """Tell whether a text is nested deeper than `MAX_NESTING`, whatever else is wrong with it."""
    depth = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        mark = found[0]
        if mark in (b"[", b"{"):
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif mark in (b"]", b"}"):
            depth -= 1
    return False


def decode_deep(text: bytes | bytearray) -> Any:
    """Decode a text that may be nested up to `MAX_NESTING` levels.

    Raises:
        ValueError: It is no JSON, or nested more deeply.
    """
    padded: Any = orjson.loads(b"[" * _PADDING + text + b"]" * _PADDING)
    for _ in range(_PADDING):
        if len(padded) != 1:
            raise ValueError("trailing characters")
        padded = padded[0]
    if _LARGE_INTEGER.search(text):
        with contextlib.suppress(RecursionError):  # then it is so deep that inexact numbers are its least problem
            return msgspec.json.decode(text)
    return padded


def encode(value: object) -> bytes:
    """Encode a value as one line of JSON, without the newline.

    Bytes become base64, text that is no UTF-8 gets U+FFFD (native protocol, N4).

    Raises:
        LocalProtocolError: JSON cannot carry it.
    """
    try:
        return orjson.dumps(value, _to_builtins, _ENCODE_OPTIONS)
    except TypeError:
        return _encode_slowly(value)


def _to_builtins(value: object) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_plain)


def _plain(value: object) -> Any:
    """Stand in for what neither library knows: subclasses of builtins, paths, secrets, text that is JSON already."""
    for base, convert in _BUILTINS.items():
        if isinstance(value, base):
            return convert(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Secret):
        return BLANK
    if isinstance(value, msgspec.Raw):
        return msgspec.json.decode(value)
    raise TypeError(f"a {type(value).__name__} has no place in JSON")


def _encode_slowly(value: object) -> bytes:
    """Encode what orjson refuses: keys that are no text, large integers, broken text, depth."""
    try:
        return msgspec.json.encode(_mended(_to_builtins(value)))
    except (TypeError, ValueError, RecursionError, OverflowError, msgspec.MsgspecError) as exc:
        raise LocalProtocolError(f"the value cannot be sent as JSON: {exc}") from exc


def _mended(value: Any) -> Any:
    """Replace what stands for undecodable bytes in text (PEP 383) by U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value

"""When Go takes bytes for a whole request (A2), read slowly: one character after the other, nothing shared with ctld.

Written from the rules of JSON and of `json.Unmarshal`, to be compared with what ctld does.
"""

__all__ = ["TooDeep", "command_of"]

_MOST = 300  # levels: deeper the two are allowed to differ

_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


class TooDeep(Exception):
    """This reading cannot say."""


class _Wrong(Exception):
    """These are no JSON."""


def command_of(data: bytes) -> str | None:
    """Return the command that bytes ask for; None: they are no complete request.

    Raises:
        TooDeep: There are too many brackets to be sure.
    """
    if data.count(b"{") + data.count(b"[") > _MOST:
        raise TooDeep
    try:
        at, value = _value(data, _space(data, 0))
        if _space(data, at) != len(data):
            return None
    except (_Wrong, IndexError):
        return None
    if value is None:
        return ""
    if not isinstance(value, list):
        return None
    command = ""
    for key, one in value:
        if _folded(key) == "command":
            if isinstance(one, str):
                command = one
            elif one is not None:
                return None
    return command


def _folded(key: str) -> str:
    """Go's fold: ASCII letters, and the two other characters that fold to them; `command` has neither K nor S."""
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in key)


def _space(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in (32, 9, 13, 10):
        at += 1
    return at


def _value(data: bytes, at: int) -> tuple[int, object]:
    """Read one value: an object is a list of pairs, a string itself, null None, all else True."""
    first = data[at : at + 1]
    if first == b"{":
        return _object(data, at + 1)
    if first == b"[":
        return _array(data, at + 1)
    if first == b'"':
        return _string(data, at + 1)
    for word, meaning in ((b"null", None), (b"true", True), (b"false", True)):
        if data[at : at + len(word)] == word:
            return at + len(word), meaning
    return _number(data, at), True


def _object(data: bytes, at: int) -> tuple[int, object]:
    pairs: list[tuple[str, object]] = []
    at = _space(data, at)
    if data[at] == 0x7D:
        return at + 1, pairs
    while True:
        if data[at] != 0x22:
            raise _Wrong
        at, key = _string(data, at + 1)
        at = _space(data, at)
        if data[at] != 0x3A:
            raise _Wrong
        at, value = _value(data, _space(data, at + 1))
        pairs.append((key, value))
        at = _space(data, at)
        if data[at] == 0x7D:
            return at + 1, pairs
        if data[at] != 0x2C:
            raise _Wrong
        at = _space(data, at + 1)


def _array(data: bytes, at: int) -> tuple[int, object]:
    at = _space(data, at)
    if data[at] == 0x5D:
        return at + 1, True
    while True:
        at, _ = _value(data, at)
        at = _space(data, at)
        if data[at] == 0x5D:
            return at + 1, True
        if data[at] != 0x2C:
            raise _Wrong
        at = _space(data, at + 1)


def _string(data: bytes, at: int) -> tuple[int, str]:
    units: list[str] = []
    while data[at] != 0x22:
        if data[at] < 0x20:
            raise _Wrong
        if data[at] == 0x5C:
            letter = chr(data[at + 1])
            if letter == "u":
                digits = data[at + 2 : at + 6]
                if len(digits) < 4 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
                    raise _Wrong
                units.append(chr(int(digits, 16)))
                at += 6
            elif letter in _SHORT:
                units.append(_SHORT[letter])
                at += 2
            else:
                raise _Wrong
        else:
            size, text = _character(data[at : at + 4])
            units.append(text)
            at += size
    return at + 1, "".join(units).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(start: bytes) -> tuple[int, str]:
    """Return the character that begins here; a byte that begins none is a U+FFFD of its own."""
    for size in range(1, len(start) + 1):
        try:
            return size, start[:size].decode()
        except UnicodeDecodeError:
            continue
    return 1, "\ufffd"


def _number(data: bytes, at: int) -> int:
    if data[at : at + 1] == b"-":
        at += 1
    if data[at : at + 1] == b"0":
        at += 1
    else:
        at = _digits(data, at)
    if data[at : at + 1] == b".":
        at = _digits(data, at + 1)
    if data[at : at + 1] in (b"e", b"E"):
        at += 2 if data[at + 1 : at + 2] in (b"+", b"-") else 1
        at = _digits(data, at)
    return at


def _digits(data: bytes, at: int) -> int:
    start = at
    while at < len(data) and 0x30 <= data[at] <= 0x39:
        at += 1
    if at == start:
        raise _Wrong
    return at

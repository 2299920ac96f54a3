"""Payload (FSS-000E): a list of objects (FSS-0002) of which one is a header of words and the last one raw bytes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from ctld.dialects.fss_control.statuses import HEADER_NOT, PAYLOAD_NOT, TOO_LARGE
from ctld.dialects.fss_control.words import BLANKS, InvalidWord, decode_line, encode_line, read_words, write_words

__all__ = ["LengthOf", "MalformedPayload", "Payload", "decode_payload", "encode_payload", "words_of"]

LengthOf: TypeAlias = Literal["payload", "packet"]
"""What `length` counts: the content alone, or (one reading of the documents) the whole of FSS-000E."""

_MAX_DIGITS: Final = 10  # of a number that fits into the four bytes of a packet's size

# Bytes before the content: a few lines of words.  A packet may be sixteen times as large, and a header of that
# size, blank lines and all, would keep the loop from everybody else for a second.
_MAX_HEADER: Final = 64 * 1024

_OBJECTS: Final = ("header", "signature", "payload")


class MalformedPayload(ValueError):
    """Bytes that are no payload.

    Attributes:
        status: What FSS calls that.
        action: The action that the header names, where it got that far.
    """

    def __init__(self, message: str, status: str, action: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.action = action


@dataclass(frozen=True, slots=True)
class Payload:
    """What a packet holds.

    Attributes:
        header: The lines of the header but `length`, each a name and words.
        content: The raw bytes.
    """

    header: tuple[tuple[str, tuple[str, ...]], ...]
    content: bytes = b""


def encode_payload(header: Iterable[Sequence[str]], content: bytes = b"", *, length_of: LengthOf = "payload") -> bytes:
    """Return the bytes of a payload; `length` is added as the last line of its header.

    Args:
        header: Lines of the header: a name and words each.
        content: The raw bytes.
        length_of: What `length` counts.

    Raises:
        InvalidWord: A word cannot be held by a line.
    """
    lines = "".join(f"{encode_line(write_words(tuple(line)))}\n" for line in header)
    try:
        head = f"header:\n{lines}length ".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidWord("a word cannot be written as UTF-8") from None
    tail = b"\npayload:\n" + content
    length = len(content)
    if length_of == "packet":
        fixed = len(head) + len(tail)
        length = next(total for total in range(fixed + 1, fixed + _MAX_DIGITS + 2) if fixed + len(str(total)) == total)
    return head + str(length).encode() + tail


def decode_payload(data: bytes, *, length_of: LengthOf = "payload") -> Payload:
    """Take a payload apart.

    Raises:
        MalformedPayload: It is none.
    """
    lines, content = _split(data)
    header = tuple(_read_header(lines))
    action = next((words[0] for name, words in header if name == "action" and words), "")
    lengths = [words for name, words in header if name == "length"]
    expected = len(content) if length_of == "payload" else len(data)
    if len(lengths) != 1 or len(lengths[0]) != 1 or not _is_number(lengths[0][0]):
        raise MalformedPayload("the header needs one length, which is a number", HEADER_NOT, action)
    if int(lengths[0][0]) != expected:
        if length_of == "payload" and _begins_object(content[int(lengths[0][0]) :]):
            raise MalformedPayload("another object follows the payload", PAYLOAD_NOT, action)
        raise MalformedPayload(f"the length is {lengths[0][0]}, and there are {expected} bytes", HEADER_NOT, action)
    return Payload(tuple(line for line in header if line[0] != "length"), content)


def words_of(payload: Payload, name: str) -> tuple[str, ...] | None:
    """Return the words of the one header line of that name; None if there is none.

    Raises:
        MalformedPayload: There are several.
    """
    found = [words for known, words in payload.header if known == name]
    if len(found) > 1:
        raise MalformedPayload(f"the header has {name} twice", HEADER_NOT)
    return found[0] if found else None


def _split(data: bytes) -> tuple[list[str], bytes]:
    """Return the lines of the header, and the content."""
    header: list[str] = []
    headers = 0
    section = ""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        if end >= _MAX_HEADER:
            raise MalformedPayload(f"the header has more than {_MAX_HEADER} bytes", TOO_LARGE)
        raw = data[start:end].decode("utf-8", "surrogateescape")
        start = end + 1
        if not raw.strip(BLANKS) or raw.lstrip(BLANKS).startswith("#"):
            continue
        line, is_object = decode_line(raw)
        if not is_object:
            if not section:
                raise MalformedPayload("a line stands before the first object", PAYLOAD_NOT)
            if section == "header":
                header.append(line)
        elif line == "payload":
            if headers != 1:
                raise MalformedPayload(f"there are {headers} headers before the payload", PAYLOAD_NOT)
            return header, data[start:]
        elif line in _OBJECTS:
            section = line
            headers += line == "header"
        else:
            raise MalformedPayload("there is an object beside header, signature and payload", PAYLOAD_NOT)
    raise MalformedPayload("there is no payload", PAYLOAD_NOT)


def _begins_object(data: bytes) -> bool:
    """Whether these bytes begin with the name of an object, so that one follows what should be the last."""
    line, newline, _ = data.partition(b"\n")
    name, is_object = decode_line(line.decode("utf-8", "surrogateescape"))
    return bool(newline) and is_object and name in _OBJECTS


def _read_header(lines: list[str]) -> Iterable[tuple[str, tuple[str, ...]]]:
    for line in lines:
        try:
            name, *words = read_words(line)
        except InvalidWord as exc:
            raise MalformedPayload(str(exc), HEADER_NOT) from None
        yield name, tuple(words)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _MAX_DIGITS

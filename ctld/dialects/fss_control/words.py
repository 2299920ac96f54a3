r"""Words on a line, quoted as FSS-0001 (Extended) says; and lines that only look like an object (FSS-0002).

A word that begins with a quote runs to the next such quote before white space or the end
of the line.  Backslashes mean something only before a quote in such a place: two stand for
one, and one takes the quote's meaning away.  Everywhere else a backslash is a backslash, so
a word that cannot be mistaken is written as it is.

Text is UTF-8 with surrogate escapes: bytes that are none survive the way through.
"""

import re
from typing import Final

__all__ = ["BLANKS", "InvalidWord", "decode_line", "encode_line", "read_words", "write_word", "write_words"]

BLANKS: Final = " \t\v\f"
"""White space that ends a word.  A carriage return is data, as only a newline ends a line."""

_QUOTES: Final = "'\"`"
_BLANK_RUN: Final = re.compile(f"[{BLANKS}]*")
_WORD: Final = re.compile(f"[^{BLANKS}]+")


class InvalidWord(ValueError):
    """A word that no line can hold."""


def read_words(line: str) -> list[str]:
    """Return the words of a line.

    Raises:
        InvalidWord: There is a NUL in it.
    """
    if "\0" in line:
        raise InvalidWord("a line holds no NUL")
    words = []
    unclosed: set[str] = set()  # quotes of which the rest of the line has none that closes: looked for once
    position = _skip_blanks(line, 0)
    while position < len(line):
        quote = line[position]
        closed = None
        if quote in _QUOTES and quote not in unclosed:
            closed = _read_quoted(line, position)
            if closed is None:
                unclosed.add(quote)
        if closed is not None:
            word, position = closed
        else:
            found = _WORD.match(line, position)
            assert found is not None, "there is no blank here"
            word, position = found[0], found.end()
            if _looks_escaped(word):
                word = word[1:]
        words.append(word)
        position = _skip_blanks(line, position)
    return words


def write_word(word: str) -> str:
    """Return a word as it stands on a line, in the way that all readers agree on.

    Raises:
        InvalidWord: No line can hold it.
    """
    if "\n" in word or "\0" in word:
        raise InvalidWord("a word holds no newline and no NUL")
    if not word:
        return '""'
    # Other readers may take more for white space than this one does.
    if word[0] not in _QUOTES and not _looks_escaped(word) and not any(map(str.isspace, word)):
        return word
    return _quoted(word)


def write_words(words: list[str] | tuple[str, ...]) -> str:
    """Return words as one line, without its newline, which no reader takes for a comment.

    Raises:
        InvalidWord: One of them cannot be held by a line.
    """
    line = " ".join(map(write_word, words))
    return f"{_quoted(words[0])}{line[len(words[0]) :]}" if line.startswith("#") else line


def encode_line(line: str) -> str:
    """Return a line so that no reader of the list takes it for the name of an object."""
    body = line.rstrip(BLANKS)
    if not body.endswith(":"):
        return line
    name = body[:-1].rstrip("\\")
    backslashes = len(body) - 1 - len(name)
    return f"{name}{(2 * backslashes + 1) * chr(92)}:{line[len(body) :]}"


def decode_line(line: str) -> tuple[str, bool]:
    """Undo `encode_line()`.

    Returns:
        The line, and whether it is the name of an object (then without its colon).
    """
    body = line.rstrip(BLANKS)
    if not body.endswith(":"):
        return line, False
    name = body[:-1].rstrip("\\")
    backslashes = len(body) - 1 - len(name)
    is_object = backslashes % 2 == 0
    name += backslashes // 2 * "\\"
    return (name.lstrip(BLANKS), True) if is_object else (f"{name}:{line[len(body) :]}", False)


def _skip_blanks(line: str, position: int) -> int:
    found = _BLANK_RUN.match(line, position)
    assert found is not None, "it matches nothing, too"
    return found.end()


def _looks_escaped(word: str) -> bool:
    """Whether a word begins with a backslash that takes the meaning of a quote away."""
    return len(word) > 1 and word[0] == "\\" and word[1] in _QUOTES


def _read_quoted(line: str, start: int) -> tuple[str, int] | None:
    """Read the word whose opening quote stands at `start`; None if no quote closes it.

    Returns:
        The word, and the position after its closing quote.
    """
    quote = line[start]
    parts = []
    kept = start + 1  # where what was not taken over yet begins
    at = line.find(quote, kept)
    while at >= 0:
        if at + 1 == len(line) or line[at + 1] in BLANKS:
            text = line[kept:at].rstrip("\\")
            backslashes = at - kept - len(text)
            parts.append(text + backslashes // 2 * "\\")
            if backslashes % 2 == 0:
                return "".join(parts), at + 1
            parts.append(quote)
            kept = at + 1
        at = line.find(quote, at + 1)
    return None


def _quoted(word: str) -> str:
    for quote in _QUOTES:
        if quote not in word:
            backslashes = len(word) - len(word.rstrip("\\"))
            return f"{quote}{word}{backslashes * chr(92)}{quote}"
    return f'"{_escape(word)}"'


def _escape(word: str) -> str:
    """Write what stands between double quotes where the word holds all three kinds."""
    out = []
    backslashes = 0
    for position, character in enumerate(word):
        if character == '"' and word[position + 1 : position + 2] in tuple(BLANKS):
            out.append((backslashes + 1) * "\\")
        out.append(character)
        backslashes = backslashes + 1 if character == "\\" else 0
    return "".join(out) + backslashes * "\\"

"""What ctlctl shows and reads: text from daemons, tables, command lines, keys."""

import json
import re
import shlex
from typing import Any

from ctlctl.arguments import parse_arguments
from ctlctl.detach_keys import DetachKeys
from ctlctl.exits import HelpWanted, UsageError
from ctlctl.human import age, by_key, clock, size
from ctlctl.inputs import Inputs
from ctlctl.output import error_line, json_line, neutral, one_line, plain, progress_line
from ctlctl.progress import Bar
from ctlctl.resolve import resolve
from ctlctl.session_arguments import parse_session_arguments
from ctlctl.shell_words import split_line, split_open_line
from ctlctl.table import cell, choose, display_width, fields, is_table, table
from ctlctl.values import as_value, enum_of, is_boolean, is_list, parse_json, types_of, wish_of
from ctld.client.wire import Update, decode_line, failure_to_error
from ctld.errors import RemoteProtocolError
from tests.fuzz.targets.target import Target, ways_to_cut

__all__ = ["TARGETS"]

PAINT = re.compile("\x1b\\[(?:0|1|2|31|32|33)m")


def harmless(text: str, kept: str = "") -> None:
    """No letter of it steers a terminal."""
    assert all(letter.isprintable() or letter in kept for letter in text), ascii(text)


def fuzz_escapes(data: bytes) -> None:
    """Nothing that a daemon says steers a terminal, and in JSON it means the very same."""
    text = (
        data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace")
        if _decodes(data)
        else data.decode("latin-1")
    )
    harmless(neutral(text), "\n\t")
    harmless(one_line(text))
    harmless(plain(text), "\n\t")
    assert neutral(text) == text or not text.isprintable()
    assert json.loads(json_line(text)) == text
    assert len(neutral(text)) <= 12 * len(text)
    harmless(error_line(failure_to_error({"message": text, "code": text, "remedy": text, "ref": text})))
    for unit in ("bytes", text):
        harmless(progress_line(Update({"progress": text, "current": len(text), "total": 7, "unit": unit})))


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _value(data: bytes) -> Any:
    try:
        return decode_line(b'{"x":%b}' % data)["x"]
    except (RemoteProtocolError, KeyError):
        return None


def fuzz_tables(data: bytes) -> None:
    """Any result is shown, as wide as it may be and without steering the terminal."""
    value = _value(data)
    try:
        harmless(plain(value), "\n\t")
        harmless(json_line(value))
    except RecursionError:
        return  # ctlctl takes no such answer from any daemon: the test is the decoder's
    harmless(cell("x", value))
    for key in ("size", "uptime", "created", "x"):
        shown = by_key(key, value)
        assert shown is None or shown.isprintable()
    if isinstance(value, dict):
        for colour in (False, True):
            shown = fields(value, width=40, colour=colour)
            harmless(PAINT.sub("", shown), "\n")
    if is_table(value):
        _tables(value)


def _tables(rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(key for row in rows for key in row))
    for width in (0, 30, 80):
        shown = table(rows, width=width)
        harmless(shown, "\n")
        assert shown == PAINT.sub("", table(rows, width=width, colour=True)) or "\x1b" not in shown
        lines = shown.split("\n")
        assert len(lines) == len(rows) + 1
        columns = len(names)
        if width >= 8 * columns:
            assert all(display_width(line) <= width for line in lines), lines
    for key in [name for name in names if not name.startswith("-")][:3]:
        ordered = choose(rows, [], [key, f"-{key}"])
        assert len(ordered) == len(rows)
        try:
            choose(rows, [key], [])
        except UsageError as error:
            raise AssertionError(f"{key!r} is a column") from error


class _NoInputs(Inputs):
    """Nothing stands elsewhere: no file is read, and nobody asked."""

    def file(self, path: str) -> str:
        return f"content of {path}"

    def variable(self, name: str) -> str:
        raise UsageError(f"there is no environment variable {name}")

    def secret(self, prompt: str) -> str | None:
        return None

    def _stdin(self) -> str:
        return "typed"


def fuzz_specs(data: bytes) -> None:
    """Whatever a daemon says that a command takes, words are options of it or wrong, in one line."""
    described, _, rest = data.partition(b"\n")
    entry = _value(described)
    words = rest.decode("utf-8", "surrogateescape").split(" ")
    schema = entry.get("options") if isinstance(entry, dict) else entry
    definitions = schema.get("$defs") if isinstance(schema, dict) else {}
    definitions = definitions if isinstance(definitions, dict) else {}
    properties = schema.get("properties") if isinstance(schema, dict) else {}
    for one in properties.values() if isinstance(properties, dict) else [schema]:
        _check_schema(one, definitions, words[0])
    commands = [entry] if isinstance(entry, dict) else []
    for line in (words, ["x", *words]):
        try:
            invocation = resolve(line, lambda: commands, inputs=_NoInputs())
        except HelpWanted:
            continue
        except UsageError as error:
            assert str(error)
            continue
        assert isinstance(invocation.opts, dict)
        json.dumps(invocation.opts).encode()
        for warning in invocation.warnings:
            assert isinstance(warning, str)


def _check_schema(schema: object, definitions: dict[str, Any], text: str) -> None:
    types = types_of(schema, definitions)
    assert isinstance(wish_of(schema, definitions), str)
    assert all(isinstance(word, str) for word in enum_of(schema, definitions))
    assert not (is_boolean(schema, definitions) and is_list(schema, definitions))
    try:
        value = as_value(text, schema, definitions, "--x")
    except UsageError:
        return
    kind = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "string",
        list: "array",
        dict: "object",
        type(None): "null",
    }[type(value)]
    assert not types or kind in types or (kind == "integer" and "number" in types), f"{value!r} is none of {types}"


def fuzz_command_lines(data: bytes) -> None:
    """Any line is words, and any words a command line or one usage error."""
    line = data.decode("utf-8", "surrogateescape").replace("\0", "")
    words = line.split(" ")
    try:
        arguments = parse_arguments(words)
        assert len(arguments.words) <= len(words)
        assert arguments.timeout is None or 0 < arguments.timeout < float("inf")
        assert 0 <= arguments.watch < float("inf")
    except UsageError as error:
        assert str(error)
    for command in ("exec", "console", "session_attach", "job_attach"):
        try:
            session = parse_session_arguments(command, words)
        except UsageError:
            continue
        assert all("=" not in name for name in session.env)
    try:
        split = split_line(line)
        assert split_line(shlex.join(split)) == split or not split or split[0].startswith("#")
    except UsageError:
        pass
    known, open_word = split_open_line(line)
    assert isinstance(open_word, str)
    assert all(isinstance(word, str) for word in known)
    try:
        parse_json(line, "--opts")
    except UsageError as error:
        assert "\n" not in str(error)


def fuzz_detach_keys(data: bytes) -> None:
    """The keys that leave are found in any pieces, and nothing else that is typed is lost."""
    for sequence in (b"\x10\x11", b"\x01q", b"aab", b"aaa", b""):
        expected = data.split(sequence)[0] if sequence else data
        found = bool(sequence) and sequence in data
        for pieces in ways_to_cut(data):
            keys, passed, left = DetachKeys(sequence), b"", False
            for piece in pieces:
                through, left = keys.feed(piece)
                passed += through
                if left:
                    break
            assert left == found
            assert passed == expected or (
                not left and expected.startswith(passed) and sequence.startswith(expected[len(passed) :])
            )


def fuzz_numbers(data: bytes) -> None:
    """Any number is shown as people read it, in a few letters."""
    value = _value(data)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    for show in (size, age):
        try:
            shown = show(value)
        except OverflowError:
            assert (isinstance(value, int) and abs(value) > 10**300) or value in (float("inf"), float("-inf"))
            continue
        assert shown.isprintable()
    for key in ("size", "uptime", "created", "x"):
        shown = by_key(key, value)
        assert shown is None or len(shown) < 400
    if 0 <= value < 1e11:
        assert len(clock(value)) == 19


def fuzz_progress(data: bytes) -> None:
    """Whatever numbers a daemon sends, in whatever order, a bar is one line that fits."""
    bar = Bar(0.0, 0.0)
    for number, line in enumerate(data.split(b"\n")[:20]):
        message = _value(line)
        if not isinstance(message, dict):
            continue
        update = Update(message)
        harmless(progress_line(update))
        bar.update(number * 0.7, update)
        assert bar.done in (True, False)
        for columns in (10, 40, 79):
            shown = bar.line(columns)
            harmless(shown)
            assert display_width(shown) <= columns


TARGETS = (
    Target("progress", fuzz_progress),
    Target("escapes", fuzz_escapes),
    Target("tables", fuzz_tables),
    Target("specs", fuzz_specs),
    Target("command_lines", fuzz_command_lines),
    Target("detach_keys", fuzz_detach_keys),
    Target("numbers", fuzz_numbers),
)

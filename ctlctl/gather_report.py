"""`ctlctl gather report SPEC -o FILE`: have the daemon collect a report, and fetch it.

The specification is TOML: the `profile`, and `[[items]]`, each with a `copy`, a `pattern` or
an `exec`.  The report is made on the daemon's machine under a name of its own, comes over the
same connection as the request, and is removed there when it is here.  A cancelled report is
fetched as far as it came.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctlctl import exits
from ctlctl.caller import Printer, command_line
from ctlctl.exits import UsageError
from ctlctl.human import size
from ctlctl.interrupts import Interrupts
from ctlctl.output import complain, error_line, json_line, one_line, write_line
from ctld.client import Update
from ctld.errors import Cancelled, CommandFailed, CtldError, DeadlineExceeded, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from ctlctl.arguments import Arguments
    from ctlctl.caller import Caller

__all__ = ["ReportFile", "read_spec", "run"]

_KEYS = frozenset(("profile", "items"))
_NOT_UNDERSTOOD = "what the daemon says of the report cannot be understood"


def run(caller: Caller, words: Sequence[str]) -> int:
    """Make a report and write it to a file; without `-o` it is the daemon's command that is meant.

    Raises:
        UsageError: The words, or the specification, make no sense.
        CtldError: It could not be made; the message says why.
    """
    arguments = caller.arguments.copy()
    spec, output = _parse(words, arguments)
    if output is None:
        return caller.run(["gather", "report", *words])
    wanted = read_spec(spec)
    name = f"{Path(output).name.partition('.')[0]}-{secrets.token_hex(4)}"
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)[-80:].lstrip("-")
    opts = {
        "profile": wanted["profile"],
        "items": wanted["items"],
        "destination": name,
        "archive": True,
        "cli": command_line(caller.prog, ["gather", "report", *words]),
    }
    with ReportFile(output) as file:
        return _make(caller, arguments, opts, file)


def read_spec(path: str) -> dict[str, Any]:
    """Read a specification.

    Raises:
        UsageError: It is none; the message names the file.
    """
    try:
        spec = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML, a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from None
    for key in spec:
        if key not in _KEYS:
            raise UsageError(f"{path}: there is no such key: {key}")
    for key, kind in (("profile", str), ("items", list)):
        if not isinstance(spec.get(key), kind):
            raise UsageError(f"{path}: {key} is missing")
    return spec


def _parse(words: Sequence[str], arguments: Arguments) -> tuple[str, str | None]:
    """Return the specification, and where the report goes."""
    rest, plain_words, output = list(reversed(words)), [], None
    while rest:
        word = rest.pop()
        if word in ("-o", "--output"):
            if not rest:
                raise UsageError(f"{word} needs the name of a file")
            output = rest.pop()
        elif word.startswith("--output="):
            output = word.partition("=")[2]
        elif not (word.startswith("--") and arguments.take(word, rest)):
            plain_words.append(word)
    if output is None:
        return "", None
    if len(plain_words) != 1 or plain_words[0].startswith("-") or not output:
        raise UsageError("usage: gather report SPEC -o FILE")
    return plain_words[0], output


def _make(caller: Caller, arguments: Arguments, opts: Mapping[str, Any], file: ReportFile) -> int:
    name, status = opts["destination"], exits.OK
    printer = Printer(caller.prog, arguments, "gather_report")
    try:
        try:
            result = _ask(caller, printer, opts, arguments.timeout)
        except (Cancelled, DeadlineExceeded) as error:
            archive = _pack_rest(caller, name)
            if archive is None:
                raise
            printer.close()
            complain(caller.prog, f"{error_line(error)}: what was collected until then is fetched")
            result, status = {"archive": archive}, exits.status_of(error)
        size_of_archive = _fetch(caller, printer, name, result, file)
    finally:
        printer.close()
    caller.ask("gather_forget", {"name": name})
    _tell(caller.prog, arguments, result, file.path, size_of_archive)
    return status


def _ask(caller: Caller, printer: Printer, opts: Mapping[str, Any], timeout: float | None) -> Any:
    conversation, answer = caller.conversation, None
    with Interrupts(conversation, caller.prog, lambda: _operation(caller, opts)):
        for kind, value in conversation.run("gather_report", opts, deadline=timeout):
            if kind == "progress":
                printer.progress(value)
            elif kind == "response":
                answer = value
    return answer


def _operation(caller: Caller, opts: Mapping[str, Any]) -> str | None:
    from ctlctl.detaching import find_operation

    return find_operation(caller, "gather_report", str(opts["cli"]))


def _pack_rest(caller: Caller, name: str) -> Any:
    """Have what there is packed; None if there is nothing."""
    try:
        for kind, value in caller.conversation.run("gather_pack", {"name": name}):
            if kind == "response":
                return value
    except CommandFailed:
        return None
    return None


def _fetch(caller: Caller, printer: Printer, name: str, result: object, file: ReportFile) -> int:
    """Write the archive to the file; return how many bytes it has.

    Raises:
        RemoteProtocolError: What comes is not what was announced.
    """
    total, digest = _announced(result)
    sha256, offset = hashlib.sha256(), 0
    pieces: Generator[Any, None, None] = caller.conversation.run("gather_fetch", {"name": name}, stream=True)
    with Interrupts(caller.conversation, caller.prog, lambda: None):
        for kind, piece in pieces:
            if kind != "item":
                continue
            begin, data = _piece(piece)
            if begin != offset or offset + len(data) > total:
                raise RemoteProtocolError("the report does not come in one piece")
            sha256.update(data)
            offset += len(data)
            file.write(data)
            printer.progress(
                Update(
                    {
                        "progress": "fetching",
                        "current": offset,
                        "total": total,
                        "unit": "bytes",
                        "data": {"task": "fetch"},
                    }
                )
            )
    if offset != total or sha256.hexdigest() != digest:
        raise RemoteProtocolError(f"the report is damaged; it is still on the daemon's machine as {name!r}")
    file.keep()
    return total


def _announced(result: object) -> tuple[int, str]:
    """Return the size of the archive that there shall be, and its digest."""
    archive = result.get("archive") if isinstance(result, dict) else None
    if isinstance(archive, dict):
        total, digest = archive.get("bytes"), archive.get("sha256")
        if type(total) is int and isinstance(digest, str):
            return total, digest
    raise RemoteProtocolError(_NOT_UNDERSTOOD)


def _piece(item: Any) -> tuple[object, bytes]:
    """Return where a piece of the archive begins, and its bytes."""
    try:
        return item["offset"], base64.b64decode(item["data"], validate=True)
    except (KeyError, TypeError, ValueError):
        raise RemoteProtocolError(_NOT_UNDERSTOOD) from None


def _tell(prog: str, arguments: Arguments, result: Mapping[str, Any], path: str, total: int) -> None:
    if arguments.json or arguments.json_seq:
        write_line(json_line({**result, "output": path}))
        return
    count = f"{one_line(result['files'])} files, " if "files" in result else ""
    write_line(f"{one_line(path)}: {count}{size(total)}")
    outcomes = result.get("outcomes")
    for outcome, items in outcomes.items() if isinstance(outcomes, dict) else ():
        if outcome != "ok":
            noun = "item" if items == 1 else "items"
            complain(prog, f"{one_line(items)} {noun} {one_line(outcome)}: see manifest.json")


class ReportFile:
    """A file that is there when it is complete, and not before.

    Args:
        path: Its name.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._partial = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{secrets.token_hex(4)}.part")

    def __enter__(self) -> ReportFile:
        try:
            # Before anything is collected: who may not write here learns it at once.
            self._descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CtldError(f"cannot write {self.path}: {error.strerror}") from None
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._descriptor)
        if os.path.exists(self._partial):
            os.unlink(self._partial)

    def write(self, data: bytes) -> None:
        """Write the next bytes.

        Raises:
            CtldError: They cannot be written.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise CtldError(f"cannot write {self.path}: {error.strerror}") from None

    def keep(self) -> None:
        """Give it its name; what had that name before is replaced.

        Raises:
            CtldError: That cannot be.
        """
        try:
            os.replace(self._partial, self.path)
        except OSError as error:
            raise CtldError(f"cannot write {self.path}: {error.strerror}") from None

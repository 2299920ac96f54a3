"""Jobs for people: `job list` has a line for each process, `job tail` shows the lines and knows `-f` and `-n`.

Other daemons may have commands of these names with other results; those look as they always would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctlctl.output import neutral, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["LogLines", "process_rows", "run"]

_SHORT = {"-f": "--follow", "-n": "--lines", "-e": "--stderr"}
_COLUMNS = ("process", "state", "pid", "uptime", "restarts", "cpu", "memory", "last_exit")
_LOG_KEYS = frozenset(("process", "text", "base64", "partial"))


def run(caller: Caller, words: Sequence[str]) -> int:
    """Run `job tail`, whose options also have one letter.

    Raises:
        CtldError: It could not be done; the message says why.
    """
    long: list[str] = []
    for position, word in enumerate(words):
        if word == "--":
            long += words[position:]
            break
        long.append(_SHORT.get(word, word))
    return caller.run(["job", "tail", *long])


def process_rows(value: Any) -> Any:
    """Return the result of `job_list` with a row for each process; anything else as it is."""
    if not isinstance(value, list) or not all(_is_job(job) for job in value):
        return value
    return [
        {"job": job["name"], **{key: process.get(key) for key in _COLUMNS}, "state": _state(job, process)}
        for job in value
        for process in job["processes"]
    ]


def _is_job(job: Any) -> bool:
    processes = job.get("processes") if isinstance(job, dict) else None
    return (
        isinstance(processes, list)
        and "name" in job
        and all(isinstance(process, dict) and "restarts" in process for process in processes)
    )


def _state(job: dict[str, Any], process: dict[str, Any]) -> Any:
    """Return the state of a process, unless that of its job says more."""
    if job.get("state") in ("waiting", "paused"):
        return job["state"]
    if process.get("retry_in") is not None:
        return "backoff"
    return process.get("state")


class LogLines:
    """The items of `job_tail` as text, with a head where another process goes on, as tail(1) has it."""

    def __init__(self) -> None:
        self._process: object = 0

    def text(self, item: dict[str, Any]) -> str | None:
        """Return what to print of an item; None: it is no line of a log."""
        line = item.get("text")
        if not isinstance(line, str) or not item.keys() <= _LOG_KEYS:
            return None
        process = item.get("process")
        head = "" if process == self._process else f"==> process {one_line(process)} <==\n"
        self._process = process
        end = "" if item.get("partial") is True else "\n"
        return f"{head}{neutral(line.removesuffix(chr(13)))}{end}"  # text files of other systems end lines with both

"""What clients sent and were answered, beside what the audit log has of it.

Every request carries a tag of its own, as the command line of its caller or as the name of
what it is about.  Clients note it before they send and when they are answered, in files of
one line per note, so that a client that is killed loses nothing of it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

__all__ = ["ANY", "DETACHED", "NOT_BEGUN", "TAG", "Entry", "Key", "Ledger", "Window", "compare", "unexcused"]

TAG: Final = "soak_"
"""How every tag begins."""

ANY: Final = "?"
"""Stands for a slug that a wire does not tell."""

DETACHED: Final = "detached"
"""Stands for the slug of a request whose command went on after its answer."""

NOT_BEGUN: Final = "not begun"
"""Stands for the slug of a request whose time was over before its turn came."""

# Answers to requests that may not have become a running command; the log has those that have.
# (One that is cancelled may still have been waiting for its turn.)
_PERHAPS_NOT_BEGUN: Final = frozenset(
    {
        *("syntax", "bad-request", "too-large", "unknown-command", "invalid-options", "busy", "shutting-down"),
        *("cancelled", NOT_BEGUN),
    }
)

# Commands that are made not to be recorded.
_UNRECORDED: Final = frozenset({"sleep"})

_SHOWN: Final = 5  # examples of each kind of difference

Key: TypeAlias = tuple[str, str]
"""A tag and a command."""

Window: TypeAlias = tuple[float, float]
"""From when to when something was the matter."""


class Entry(NamedTuple):
    """A row of the audit log, as far as it matters here."""

    tag: str
    command: str
    slug: str


class Trouble(NamedTuple):
    """A request that was not answered, though its client waited."""

    time: float
    what: str
    key: Key


@dataclass
class Ledger:
    """What the notes of all clients say.

    Attributes:
        sent: How often each request was sent.
        answers: The slugs that each was answered with; empty for success.
        trouble: What was not answered.
        kinds: How often each kind of load was done.
    """

    sent: Counter[Key] = field(default_factory=Counter)
    answers: dict[Key, list[str]] = field(default_factory=dict)
    trouble: list[Trouble] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    def read(self, lines: Iterable[str]) -> None:
        """Take the notes of one client; one that was cut off by its death is no note."""
        for line in lines:
            if not line.endswith("\n"):
                continue
            match line.rstrip("\n").split("\t"):
                case ["sent", tag, command]:
                    self.sent[tag, command] += 1
                case ["answered", tag, command, slug]:
                    self.answers.setdefault((tag, command), []).append(slug)
                case ["trouble", time, what, tag, command]:
                    self.trouble.append(Trouble(float(time), what, (tag, command)))
                case ["did", kind]:
                    self.kinds[kind] += 1
                case _:
                    raise ValueError(f"no client writes such a note: {line!r}")

    @property
    def answered(self) -> int:
        """How many answers there were."""
        return sum(map(len, self.answers.values()))


def compare(ledger: Ledger, log: Sequence[Entry], *, lost: int = 0, denials: int = 1000) -> list[str]:
    """Find where the audit log differs from what clients saw.

    Args:
        ledger: What they saw.
        log: The log.
        lost: How many entries the daemon says it has lost.
        denials: From how many denials on the log may leave some out.
    """
    rows: dict[Key, list[str]] = {}
    for entry in log:
        if entry.tag.startswith(TAG):
            rows.setdefault((entry.tag, entry.command), []).append(entry.slug)
    denied = sum(slugs.count("denied") for slugs in ledger.answers.values())
    optional = _PERHAPS_NOT_BEGUN if denied <= denials else _PERHAPS_NOT_BEGUN | {"denied"}
    missing: list[str] = []
    for key, slugs in ledger.answers.items():
        if key[1] in _UNRECORDED:
            continue
        wanted = sum(slug not in optional for slug in slugs)
        there = len(rows.get(key, ()))
        missing += [f"{_name(key)} ({'/'.join(slugs) or 'done'})"] * (wanted - there)
    # What was lost stands for any of them; more than that is not excused.
    found = _shown("answered and not in the log", missing if len(missing) > lost else [])
    found += _shown(
        "in the log more often than sent", [_name(key) for key in rows if len(rows[key]) > ledger.sent[key]]
    )
    found += _shown("another outcome in the log", list(_other_outcomes(ledger, rows)))
    return found


def unexcused(trouble: Iterable[Trouble], windows: Iterable[Window], *, patience: float = 2.0) -> list[str]:
    """Find requests without an answer, except those refused while there were no descriptors.

    Args:
        trouble: What clients noted.
        windows: When the daemon could not open descriptors.
        patience: How long after that a client may still notice.
    """
    excuses = list(windows)
    left = [
        one
        for one in trouble
        if one.what == "silence" or not any(start <= one.time <= end + patience for start, end in excuses)
    ]
    return _shown("not answered", [f"{_name(one.key)}: {one.what}" for one in left])


def _other_outcomes(ledger: Ledger, rows: dict[Key, list[str]]) -> Iterable[str]:
    for key, slugs in ledger.answers.items():
        row = rows.get(key)
        if row is None or len(row) != 1 or len(slugs) != 1 or slugs[0] in (ANY, DETACHED):
            continue
        if row[0] != slugs[0]:
            yield f"{_name(key)}: answered {slugs[0] or 'done'}, logged {row[0] or 'done'}"


def _name(key: Key) -> str:
    return f"{key[1]} {key[0]}"


def _shown(what: str, examples: Sequence[str]) -> list[str]:
    return [f"{len(examples)} {what}: {', '.join(sorted(examples)[:_SHOWN])}"] if examples else []

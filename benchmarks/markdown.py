"""A run as Markdown: for the page of the documentation, and for the README; pure."""

from collections.abc import Mapping
from itertools import groupby

from benchmarks.plots import Picture
from benchmarks.report import Run, number, rows_by_goal, spread
from benchmarks.results import Row

__all__ = ["goals", "peers", "profile", "results"]

NAMES = {
    "ctld full": "**ctld**, the full path",
    "ctld bare": "ctld, a bare handler",
    "ctld, with events": "ctld, events for each request",
    "starlette": "uvicorn, Starlette",
}
NAMES |= {"varlink": "Varlink (Python)", "grpc.aio": "gRPC (grpc.aio)", "supervisord": "supervisord (XML-RPC)"}

# How the scenarios of a profile are called.
PROFILE = "profile, "
BY_KIND = "by kind"

COLUMNS = ("c50 ping", "c50 echo", "pipe64 ping", "pipe64 echo", "seq1 ping", "seq1 echo")


def goals(run: Run) -> str:
    """Tell of each goal what was measured, and whether that is enough."""
    lines = [_place(run), "", "| goal | scenario | measured | should be | |", "|---|---|--:|--:|---|"]
    for text, rows in rows_by_goal(run.rows).items():
        if not rows:
            lines.append(f"| {text} | | | | not measured |")
        for row in rows:
            value = "-" if row.value is None else f"{number(row.value)} {row.unit}"
            verdict = row.verdict if row.value is not None else f"missing: {_cell(row.note)}"
            lines.append(f"| {text} | {_what(row)} | {value} | {row.goal} | {verdict} |")
    return "\n".join(lines)


def results(run: Run, pictures: Mapping[str, Picture]) -> str:
    """Show the plots, and all that was measured."""
    lines = []
    for name, picture in pictures.items():
        lines += [f"![{picture.title}]({name})", ""]
    lines += [f"Everything that was measured, [as JSON](benchmarks.json) too; {run.rounds} rounds.", ""]
    lines += ["| scenario | of what | median | least and greatest | |", "|---|---|--:|--:|---|"]
    measured = [row for row in run.rows if not row.scenario.startswith(PROFILE)]
    for scenario, rows in groupby(measured, key=lambda row: row.scenario):
        lines += [_line(scenario, row) for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in run.machine.versions.items())
    return "\n".join([*lines, "", f"Versions: {versions}; commit `{run.machine.commit}`."])


def profile(run: Run) -> str:
    """Tell where the server's time went."""
    rows = [row for row in run.rows if row.scenario.startswith(PROFILE) and row.value is not None]
    if not rows:
        return "Not looked into in this run: `make bench-full` does that."
    kinds = [row for row in rows if row.scenario.endswith(BY_KIND)]
    loads = list(dict.fromkeys(_load_of(row) for row in rows))
    shares = {(_load_of(row), row.subject): _percent(row) for row in kinds}
    lines = [f"| | {' | '.join(loads)} |", f"|---|{'--:|' * len(loads)}"]
    lines += [
        f"| {kind} | {' | '.join(shares.get((load, kind), '-') for load in loads)} |"
        for kind in dict.fromkeys(row.subject for row in kinds)
    ]
    lines += ["", "Of that, by the innermost function of ours:", ""]
    for load in loads:
        places = [row for row in rows if _load_of(row) == load and not row.scenario.endswith(BY_KIND)]
        told = ", ".join(f"{_code(row.subject)} {_percent(row)}" for row in places)
        lines.append(f"- {load}: {told}.")
    return "\n".join(lines)


def _load_of(row: Row) -> str:
    return row.scenario.removeprefix(PROFILE).rpartition(",")[0]


def _percent(row: Row) -> str:
    return f"{row.value:.0f} %"


def _code(place: str) -> str:
    """Mark the name of a function as one: it has a file before it."""
    return f"`{place}`" if ".py " in place else place


def peers(run: Run) -> str:
    """Make the table of the README: all servers, beside the yardstick."""
    values = {(row.scenario, row.subject): row for row in run.rows if row.unit in {"x", "x time"}}
    subjects = dict.fromkeys(row.subject for row in run.rows if row.scenario in COLUMNS and "/" not in row.subject)
    lines = [
        "| | 50 clients: ping | echo | 64 in flight: ping | echo | time of one ping | echo |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for subject in subjects:
        cells = [_ratio(subject, values.get((column, subject))) for column in COLUMNS]
        lines.append(f"| {NAMES.get(subject, subject)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _place(run)])


def _ratio(subject: str, row: Row | None) -> str:
    if subject == "LIMIT-B":
        return "1"
    return "-" if row is None or row.value is None else number(row.value)


def _place(run: Run) -> str:
    machine = run.machine
    place = (machine.processor, f"{machine.processors} processors", machine.kernel, machine.python)
    return f"Measured on {run.date}: {', '.join(place)}, load average {machine.load:.1f}."


def _what(row: Row) -> str:
    return _cell(f"{row.scenario}: {row.subject}")


def _line(scenario: str, row: Row) -> str:
    value = "-" if row.value is None else f"{number(row.value)} {row.unit}"
    return f"| {_cell(scenario)} | {_cell(row.subject)} | {value} | {spread(row)} | {_cell(row.note)} |"


def _cell(text: str) -> str:
    """Keep a text from ending its cell."""
    return text.replace("|", "\\|").replace("\n", " ")

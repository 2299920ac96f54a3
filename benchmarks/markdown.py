"""A run as Markdown: for the page of the documentation, and for the README; pure."""

from collections.abc import Mapping
from itertools import groupby

from benchmarks.plots import Picture
from benchmarks.report import Run, number, rows_by_goal, spread
from benchmarks.results import Row

__all__ = ["goals", "peers", "results"]

NAMES = {
    "ctld full": "**ctld**, the full path",
    "ctld bare": "ctld, a bare handler",
    "ctld, with events": "ctld, events for each request",
    "starlette": "uvicorn, Starlette",
}
NAMES |= {"varlink": "Varlink (Python)", "grpc.aio": "gRPC (grpc.aio)", "supervisord": "supervisord (XML-RPC)"}

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
    for scenario, rows in groupby(run.rows, key=lambda row: row.scenario):
        lines += [_line(scenario, row) for row in rows]
    versions = ", ".join(f"{name} {version}" for name, version in run.machine.versions.items())
    return "\n".join([*lines, "", f"Versions: {versions}; commit `{run.machine.commit}`."])


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
    return f"Measured on {run.date}: {', '.join(place)}."


def _what(row: Row) -> str:
    return _cell(f"{row.scenario}: {row.subject}")


def _line(scenario: str, row: Row) -> str:
    value = "-" if row.value is None else f"{number(row.value)} {row.unit}"
    return f"| {_cell(scenario)} | {_cell(row.subject)} | {value} | {spread(row)} | {_cell(row.note)} |"


def _cell(text: str) -> str:
    """Keep a text from ending its cell."""
    return text.replace("|", "\\|").replace("\n", " ")

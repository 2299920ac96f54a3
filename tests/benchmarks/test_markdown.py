"""A run as Markdown."""

from dataclasses import replace

from benchmarks import markdown
from benchmarks.goals import ACCEPTANCE, BARE, PEERS
from benchmarks.plots import plots
from benchmarks.results import Goal, Row, missing
from tests.benchmarks.test_report import MACHINE, RUN

ROWS = (
    Row("c50 ping", "LIMIT-B", 80000, 70000, 90000, "req/s", None, "load generator 38% busy"),
    Row("c50 ping", "ctld bare", 0.812, 0.79, 0.84, "x", Goal(BARE, ">=", 0.8)),
    Row("c50 ping", "ctld full", 0.61, 0.55, 0.64, "x"),
    missing("c50 ping", "grpc.aio", "x", "no | module"),
    missing("c50 ping", "ctld full / grpc.aio", "x", "no | module", Goal(PEERS, ">=", 6)),
    Row("seq1 ping", "LIMIT-B", 55, 50, 60, "us"),
    Row("seq1 ping", "ctld full", 1.2, 1.1, 1.3, "x time"),
)
A_RUN = replace(RUN, rows=ROWS)


def cells_of(text):
    return [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line.startswith("|")
    ]


def test_every_goal_is_in_the_table_with_its_verdict():
    text = markdown.goals(A_RUN)
    assert f"| {BARE} | c50 ping: ctld bare | 0.81 x | >= 0.8 | pass |" in text
    assert f"| {PEERS} | c50 ping: ctld full / grpc.aio | - | >= 6 | missing: no \\| module |" in text
    assert all(f"| {goal} |" in text for goal in ACCEPTANCE)
    assert text.count("not measured") == len(ACCEPTANCE) - 2


def test_the_place_and_the_day_stand_with_the_figures():
    for text in (markdown.goals(A_RUN), markdown.peers(A_RUN)):
        assert f"2026-11-22: {MACHINE.processor}, 2 processors, Linux 6, CPython 3.11, load average 0.5." in text


def test_the_readme_compares_all_servers():
    _, _, limit, bare, full, grpc = cells_of(markdown.peers(A_RUN))
    assert limit == ["LIMIT-B", *["1"] * 6]
    assert bare == ["ctld, a bare handler", "0.81", *["-"] * 5]
    assert full == ["**ctld**, the full path", "0.61", "-", "-", "-", "1.20", "-"]
    assert grpc == ["gRPC (grpc.aio)", *["-"] * 6]


def test_all_rows_and_plots_are_among_the_results():
    text = markdown.results(A_RUN, plots(A_RUN.rows))
    assert "| c50 ping | LIMIT-B | 80,000 req/s | 70,000 to 90,000 | load generator 38% busy |" in text
    assert "| c50 ping | grpc.aio | - | | no \\| module |" in " ".join(text.split())
    assert "(benchmark-c50.svg)" in text
    assert "uvloop 0.21; commit `abc`" in text


def test_a_profile_is_told_by_kind_and_by_function():
    rows = (
        Row("profile, c50 echo, by kind", "the kernel", 35.4, None, None, "%"),
        Row("profile, c50 echo, by kind", "Python", 64.6, None, None, "%"),
        Row("profile, c50 echo, by function", "connection.py flush", 23.6, None, None, "%"),
        Row("profile, c50 echo, by function", "the loop", 76.4, None, None, "%"),
        Row("profile, connect cycle, by kind", "Python", 100, None, None, "%"),
    )
    text = markdown.profile(replace(RUN, rows=rows))
    assert "| | c50 echo | connect cycle |" in text
    assert "| the kernel | 35 % | - |" in text
    assert "| Python | 65 % | 100 % |" in text
    assert "- c50 echo: `connection.py flush` 24 %, the loop 76 %." in text
    assert "profile," not in markdown.results(replace(RUN, rows=rows), {})


def test_a_run_without_a_profile_says_so():
    assert "make bench-full" in markdown.profile(A_RUN)

"""ctlctl.progress: bars as lines, and what they do to a terminal."""

import os
from typing import Any

import pytest

from ctlctl import progress as module
from ctlctl.progress import Bar, Bars
from ctlctl.table import display_width
from ctld.client import Update
from tests.client.scripted import BANNER, Peer, Serve


def update(message: Any = "disk", **more: Any) -> Update:
    return Update({"progress": message, **more})


def bar_after(*steps: tuple[float, float], total: float | None = 100, unit: str = "", message: str = "disk") -> Bar:
    bar = Bar(steps[0][0], steps[0][1])
    for now, current in steps:
        bar.update(now, update(message, current=current, total=total, unit=unit))
    return bar


def test_how_far_how_fast_how_much_longer() -> None:
    bar = bar_after((0, 0), (10, 25 * 1024), total=100 * 1024, unit="bytes")
    assert bar.line(120) == "disk [######..................]  25% 25.0 KiB/100 KiB  2.5 KiB/s  30 s left"
    assert not bar.done


def test_other_units() -> None:
    assert bar_after((0, 0), (2, 50), unit="items").line(120).endswith("50/100 items  25 items/s  2 s left")
    assert bar_after((0, 0), (2, 50)).line(120).endswith("50/100  25/s  2 s left")


def test_at_its_end_nothing_is_left() -> None:
    bar = bar_after((0, 0), (10, 100))
    assert bar.done
    assert bar.line(120) == f"disk [{'#' * 24}] 100% 100/100  10/s"


def test_without_a_total_there_is_no_bar() -> None:
    bar = bar_after((0, 0), (2, 10), total=None, unit="files")
    assert bar.line(80) == "disk 10 files  5 files/s"
    assert not bar.done
    assert bar_after((0, 3), total=0).line(80) == "disk 3/0"


def test_a_rate_needs_time_and_a_new_beginning_begins_again() -> None:
    assert "/s" not in bar_after((0, 0), (0.1, 10)).line(120)
    assert bar_after((0, 0), (10, 90), (20, 0), (30, 10)).line(120).endswith("1/s  1 min 30 s left")


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), 10**400, 1e300, -1e300, 1e-320])
def test_numbers_without_an_end(number: float) -> None:
    bar = Bar(0.0, 0.0)
    for now, current, total in ((0.0, 0, number), (1.0, number, number), (2.0, 1e-300, 1e300), (3.0, 2e-300, 1e300)):
        bar.update(now, update(current=current, total=total, unit="bytes"))
        assert display_width(bar.line(80)) <= 80


@pytest.mark.parametrize("current", [-5, 150, 1e300])
def test_numbers_that_make_no_sense(current: float) -> None:
    line = bar_after((0, 0), (1, current)).line(80)
    assert len(line) <= 80


@pytest.mark.parametrize("columns", [10, 20, 40, 60, 80, 120])
@pytest.mark.parametrize("message", ["", "disk", "d" * 200, "日本" * 50])
def test_it_fits(columns: int, message: str) -> None:
    line = bar_after((0, 0), (10, 12345), total=99999, unit="bytes", message=message).line(columns)
    assert 0 < display_width(line) <= columns


@pytest.mark.parametrize("columns", [10, 20, 40])
def test_a_unit_of_wide_letters_fits(columns: int) -> None:
    assert display_width(bar_after((0, 0), (10, 5), unit="\u65e5" * 30).line(columns)) <= columns


def test_nothing_of_a_message_steers_the_terminal() -> None:
    evil = "a\x1b[2J\nb"
    assert bar_after((0, 0), (1, 1), unit=evil, message=evil).line(200).isprintable()


class Screen:
    """What a terminal shows of what is written to it, as far as bars go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = [""]
        self.row = 0
        self.now = 0.0
        self.writes = 0
        monkeypatch.setattr(module, "_write", self.write)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)

    def write(self, text: str) -> None:
        self.writes += 1
        while text:
            if text.startswith("\x1b[K"):
                self.lines[self.row], text = "", text[3:]
            elif text.startswith("\x1b[A"):
                self.row, text = self.row - 1, text[3:]
            elif text[0] == "\n":
                self.row, text = self.row + 1, text[1:]
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif text[0] == "\r":
                text = text[1:]
            else:
                assert text[0].isprintable()
                self.lines[self.row], text = self.lines[self.row] + text[0], text[1:]

    @property
    def shown(self) -> list[str]:
        return [line for line in self.lines if line]


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def test_several_at_once_and_lines_above_them(screen: Screen) -> None:
    bars = Bars()
    for step in range(5):
        screen.now += 1
        bars.update(update("disk a", current=step, total=4, data={"task": "a"}))
        screen.now += 1
        bars.update(update("disk b", current=step * 2, total=80, data={"task": "b"}))
        if step == 2:
            bars.update(update("half way"))
    bars.close()
    assert [line.split(" [")[0] for line in screen.shown] == ["half way", "disk a", "disk b"]
    assert "100%" in screen.shown[1]
    assert " 10% 8/80" in screen.shown[2]


def test_what_is_printed_next_finds_a_clean_terminal(screen: Screen) -> None:
    bars = Bars()
    screen.now = 1
    bars.update(update(current=1, total=2))
    assert len(screen.shown) == 1
    bars.clear()
    assert (screen.shown, screen.row) == ([], 0)
    bars.clear()
    screen.now = 2
    bars.update(update(current=2, total=2))
    bars.close()
    assert len(screen.shown) == 1


def test_many_messages_are_a_few_drawings_and_the_last_is_seen(screen: Screen) -> None:
    bars = Bars()
    for step in range(1000):
        screen.now += 0.001
        bars.update(update(current=step, total=2000))
    bars.close()
    assert screen.writes < 20
    assert "999/2000" in screen.shown[0]


def test_there_is_a_bound_on_bars(screen: Screen) -> None:
    bars = Bars()
    for number in range(100):
        screen.now += 1
        bars.update(update(f"task {number}", current=int(number == 3), total=1, data={"task": str(number)}))
    assert len(bars._bars) == 20
    assert "3" not in bars._bars, "what is done gives way first"


def test_messages_without_anything(screen: Screen) -> None:
    bars = Bars()
    bars.update(update(None))
    bars.update(update("", data={"task": 5}))
    bars.close()
    assert screen.shown == []


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bytes] = []

    def closed(fd: int, data: bytes) -> int:
        tried.append(data)
        raise BrokenPipeError

    bars = Bars()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", closed)
        bars.update(update(current=1))
    assert len(tried) == 1
    assert bars._bars, "it goes on counting"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child does nothing but exec
class TestOnATerminal:
    @staticmethod
    def script(peer: Peer) -> None:
        peer.send(BANNER)
        peer.receive()
        for current in range(11):
            peer.send({"status": True, "progress": "copied", "current": current, "total": 10, "unit": "chunks"})
        peer.send({"status": True, "response": "done"})

    def test_bars(self, serve: Serve, terminal: Any) -> None:
        status, said = terminal("-s", serve(self.script).address, "copy", columns=60).finish()
        assert status == 0
        assert b"copied [" in said
        assert b"100% 10/10 chunks" in said
        assert said.endswith(b"done\r\n")
        drawn = said.decode().replace("\x1b[K", "").replace("\x1b[A", "").splitlines()
        assert max(map(len, drawn)) < 60

    @pytest.mark.parametrize("flag", ["--quiet", "-q"])
    def test_none_with_quiet(self, serve: Serve, terminal: Any, flag: str) -> None:
        assert terminal("-s", serve(self.script).address, flag, "copy").finish() == (0, b"done\r\n")

    def test_plain_lines_on_a_terminal_that_knows_no_more(self, serve: Serve, terminal: Any) -> None:
        status, said = terminal("-s", serve(self.script).address, "copy", TERM="dumb").finish()
        assert status == 0
        assert b"\x1b" not in said
        assert b"copied [3/10 chunks]\r\n" in said

    def test_b16_what_ctrl_c_says_is_not_overwritten_by_bars(self, serve: Serve, terminal: Any) -> None:
        def script(peer: Peer) -> None:
            peer.send(BANNER)
            peer.receive()
            peer.send({"status": True, "progress": "copied", "current": 1, "total": 3})
            assert peer.receive() == {"cancel": None}
            peer.send({"status": True, "progress": "copied", "current": 3, "total": 3})
            peer.send({"status": False, "message": "stopped", "code": "cancelled"})

        on_terminal = terminal("-s", serve(script).address, "copy")
        said = on_terminal.until(b"1/3")
        on_terminal.type("\x03")
        status, rest = on_terminal.finish()
        assert status == 6
        _, _, after = (said + rest).partition(b"leave it running\r\n")
        assert b"3/3" in after
        assert b"\x1b[A" not in after, "there is no bar below that line which could be drawn over"


def test_a_huge_message_does_not_keep_the_bar() -> None:
    """Cutting it two letters at a time took minutes."""
    bar = Bar(0.0, 0.0)
    for text in ("x" * 2_000_000, "日" * 400_000):
        bar.update(1.0, Update({"progress": text, "current": 1, "total": 2}))
        line = bar.line(80)
        assert "…" in line
        assert display_width(line) <= 80

"""ctlctl.interrupts: the three strokes of Ctrl-C (B16), one by one."""

import signal
from typing import Any

import pytest

from ctlctl.interrupts import Interrupts


class Call:
    def __init__(self, *, running: bool = True, cancels: bool = True) -> None:
        self.running = running
        self.cancels = cancels
        self.cancelled = 0

    def cancel(self) -> bool:
        self.cancelled += 1
        return self.cancels


def strokes(call: Any, operation: str | None, count: int) -> tuple[int, int]:
    """Press so often; return how many strokes it took to leave, and how often it looked."""
    looked = 0

    def find() -> str | None:
        nonlocal looked
        looked += 1
        return operation

    with Interrupts(call, "vmctl", find):
        for number in range(1, count + 1):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                return number, looked
    return 0, looked


@pytest.mark.parametrize(
    ("call", "operation", "left", "said"),
    [
        (Call(running=False), None, (1, 0), []),
        (Call(), "op-1", (2, 1), ["cancelling; press Ctrl-C again to leave it running", "op watch op-1"]),
        (Call(), None, (3, 1), ["cancelling", "does not run on alone", "left; the command may still be running"]),
        (Call(cancels=False), "op-1", (2, 0), ["cannot cancel a command", "left; the command may still"]),
    ],
    ids=["nothing runs", "it runs on", "it does not run on", "version 1"],
)
def test_b16(capfd: Any, call: Call, operation: str | None, left: tuple[int, int], said: list[str]) -> None:
    assert strokes(call, operation, 3) == left
    lines = capfd.readouterr().err.splitlines()
    assert [text in line for text, line in zip(said, lines, strict=True)] == [True] * len(said)
    assert all(line.startswith("vmctl: ") for line in lines)
    assert call.cancelled == (1 if call.running else 0)


def test_b16_one_stroke_leaves_nothing() -> None:
    assert strokes(Call(), None, 1) == (0, 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

"""Throw mutated bytes at every target, for as long as you like: `make fuzz SECONDS_EACH=600`.

`tests/fuzz/targets.py` says what a target must do with any bytes, and the corpus beside it
holds bytes to start from.  Each round is made from one number, so a finding is reproduced
with `--round N`; keep its input in the corpus, and the ordinary suite replays it.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.fuzz.targets import CORPUS, FUZZ_ONE  # noqa: E402 - the path comes first, to run from any folder

# Bytes that mean something to some parser: a mutation inserts one of them more often than chance would.
SPICE = [
    b"\n",
    b"\r\n",
    b"\0",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\",
    b"\xff",
    b"\xed\xa0\x80",
    b" ",
    b"9" * 30,
]
MAX_SHOWN = 1000  # characters of a finding: some quote every piece of their input
MAX_SIZE = 4096  # short inputs reach everything, and there are more of them in a second


@dataclass(frozen=True)
class Target:
    """One parser, and bytes to start from."""

    fuzz_one: Callable[[bytes], Any]
    seeds: tuple[bytes, ...]


def targets() -> dict[str, Target]:
    return {
        name: Target(fuzz_one, tuple(path.read_bytes()[:MAX_SIZE] for path in sorted((CORPUS / name).iterdir())))
        for name, fuzz_one in FUZZ_ONE.items()
    }


def make_input(target: Target, number: int) -> bytes:
    """Make something that is nearly right from what is; the same number makes the same."""
    rng = random.Random(number)
    data = bytearray(b"".join(rng.choice(target.seeds) for _ in range(rng.randint(1, 3))))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        place = rng.randint(0, len(data))
        match rng.randrange(6):
            case 0:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 1:
                data[place:place] = rng.choice(SPICE) * rng.choice((1, 1, 2, 600))
            case 2:
                del data[place : place + rng.randint(1, 20)]
            case 3:
                data[place:place] = data[place : place + rng.randint(1, 40)]
            case 4:
                del data[place:]
            case 5:
                other = rng.choice(target.seeds)
                data[place:place] = other[: rng.randint(0, len(other))]
    return bytes(data[:MAX_SIZE])


def fuzz(target: Target, seconds: float, number: int) -> tuple[int, Exception | None]:
    """Run rounds for some seconds, at least one; return the number after the last, or that of a finding."""
    end = time.monotonic() + seconds
    while True:
        try:
            target.fuzz_one(make_input(target, number))
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
            return number, exc
        number += 1
        if time.monotonic() >= end:
            return number, None


def main(arguments: list[str] | None = None, known: dict[str, Target] | None = None) -> int:
    known = targets() if known is None else known
    parser = argparse.ArgumentParser(description="Throw mutated bytes at parsers.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each target")
    parser.add_argument("--target", choices=sorted(known), action="append", help="only this one; may be repeated")
    parser.add_argument("--round", type=int, help="only this round, to reproduce a finding")
    options = parser.parse_args(arguments)
    status = 0
    for name in options.target or sorted(known):
        start = random.SystemRandom().randrange(2**32) if options.round is None else options.round
        number, finding = fuzz(known[name], 0 if options.round is not None else options.seconds, start)
        if finding is None:
            print(f"{name}: {number - start} rounds, nothing found")
        else:
            status = 1
            print(f"{name}: round {number}: {type(finding).__name__}: {str(finding)[:MAX_SHOWN]}")
            print(f"input: {make_input(known[name], number)!r}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())

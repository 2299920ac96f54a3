"""Throw mutated bytes at every codec, for as long as you like: `make fuzz SECONDS_EACH=600`.

The contract of a codec under garbage is the one of `ctld/wire/codec.py`: bytes become
events, or `RemoteProtocolError` ends the connection; nothing else is raised.  And what the
bytes mean does not depend on how they were cut on their way.

Each round is made from one number, so a finding is reproduced with `--round N`.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from ctld.errors import RemoteProtocolError  # noqa: E402 - the path has to be set first, to run from any folder
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Codec  # noqa: E402 - see above
from ctld.wire.native import NativeCodec  # noqa: E402 - see above

# Bytes that mean something to some codec: a mutation inserts one of them more often than chance would.
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
MAX_LINE = 512  # small, so that rounds also meet the bound


@dataclass(frozen=True)
class Target:
    """One codec, and conversations that are right, to start from."""

    make: Callable[[], Codec]
    seeds: tuple[bytes, ...]


TARGETS: dict[str, Target] = {
    "native": Target(
        lambda: NativeCodec(MAX_LINE),
        (
            b'{"cmd": "ping"}\n',
            b'{"cmd": "backup", "opts": {"name": "tank/ct1", "tags": ["a"], "size": 1e3}}\r\n\n',
            b'{"cmd": "x", "id": 9223372036854775807, "deadline": 1.5, "stream": true, "detach": false}\n',
            b'{"cmd": "x", "id": "\\u00e9", "session": {"tty": true, "rows": 24}}\n{"cancel": "\\u00e9"}\n',
            b'{"cancel": null}\n{"cancel": 7, "more": [[[]]]}\n',
            b'{"opts": null, "cmd": "last line without an end"}',
        ),
    ),
}


def mutate(rng: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    """Make something that is nearly right from what is."""
    data = bytearray(b"".join(rng.choice(seeds) for _ in range(rng.randint(1, 4))))
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
                other = rng.choice(seeds)
                data[place:place] = other[: rng.randint(0, len(other))]
    return bytes(data)


def cuts(rng: random.Random, data: bytes) -> list[bytes]:
    """Cut bytes at random places."""
    places = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 8)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def meaning(codec: Codec, pieces: Iterable[bytes]) -> list[Any]:
    """Everything that a codec makes of a connection."""
    events: list[Any] = []
    try:
        for piece in [*pieces, None]:
            if piece is None:
                codec.receive_eof()
            else:
                codec.receive_data(piece)
            while (event := codec.next_event()) is not NEED_DATA and event is not END_OF_INPUT:
                events.append(event)
            if piece is None and event is not END_OF_INPUT:
                raise AssertionError("the codec wants more after the end of input")
    except RemoteProtocolError as exc:
        events.append(("connection ends", exc.code))
    return events


def check_round(target: Target, number: int) -> None:
    """Make the input of that number, and hold the codec to its contract."""
    rng = random.Random(number)
    data = mutate(rng, target.seeds)
    pieces = cuts(rng, data)
    whole, cut = meaning(target.make(), [data]), meaning(target.make(), pieces)
    if whole != cut:
        raise AssertionError(f"cut differently it means something else:\n{whole}\n{cut}")


def fuzz(target: Target, seconds: float, start: int) -> tuple[int, Exception | None]:
    """Run rounds for some seconds; return the number of the last one, and what it found."""
    end = time.monotonic() + seconds
    number = start
    while time.monotonic() < end:
        try:
            check_round(target, number)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
            return number, exc
        number += 1
    return number, None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Throw mutated bytes at codecs.")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each target")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one; may be repeated")
    parser.add_argument("--round", type=int, help="only this round, to reproduce a finding")
    options = parser.parse_args(arguments)
    status = 0
    for name in options.target or sorted(TARGETS):
        target = TARGETS[name]
        start = random.SystemRandom().randrange(2**32) if options.round is None else options.round
        number, finding = fuzz(target, options.seconds, start) if options.round is None else _one(target, start)
        if finding is None:
            print(f"{name}: {number - start} rounds, nothing found")
            continue
        status = 1
        rng = random.Random(number)
        print(f"{name}: round {number}: {type(finding).__name__}: {finding}")
        print(f"input: {json.dumps(mutate(rng, target.seeds).decode('latin-1'))} (as latin-1)")
    return status


def _one(target: Target, number: int) -> tuple[int, Exception | None]:
    try:
        check_round(target, number)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
        return number, exc
    return number + 1, None


if __name__ == "__main__":
    raise SystemExit(main())

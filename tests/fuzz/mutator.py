"""The mutator for Pythons that have no atheris: quick, but blind to what of the code its inputs reach."""

import random
import time
from collections.abc import Sequence

from tests.fuzz.targets import Target

__all__ = ["make_input", "mutate_for"]

# Bytes that mean something to some parser: a mutation inserts one of them more often than chance would.
SPICE = (
    b"\n", b"\r\n", b"\0", b'"', b"{", b"}", b"[", b"]", b":", b",", b"\\", b"\xff", b"\xed\xa0\x80", b" ", b"9" * 30,
)  # fmt: skip


def make_input(seeds: Sequence[bytes], words: Sequence[bytes], max_size: int, number: int) -> bytes:
    """Make something that is nearly right from what is; the same number makes the same."""
    rng = random.Random(number)
    data = bytearray(b"".join(rng.choice(seeds) for _ in range(rng.randint(1, 3))))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 8))):
        place = rng.randint(0, len(data))
        match rng.randrange(7):
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
            case 6:
                data[place:place] = rng.choice(words or SPICE)
    return bytes(data[:max_size])


def mutate_for(target: Target, seconds: float, number: int) -> tuple[int, bytes | None, Exception | None]:
    """Run rounds for some seconds, at least one.

    Args:
        target: What to run.
        seconds: For how long.
        number: That of the first round.

    Returns:
        How many rounds there were; and of a finding the input, and what came of it.
    """
    seeds = [path.read_bytes() for path in target.seeds()] or [b""]
    words = target.words()
    end = time.monotonic() + seconds
    rounds = 0
    while True:
        data = make_input(seeds, words, target.max_size, number + rounds)
        rounds += 1
        try:
            target.fuzz_one(data)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is the finding
            return rounds, data, exc
        if time.monotonic() >= end:
            return rounds, None, None

"""What a fuzz target is, and bytes cut as a network may cut them."""

import ast
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["CORPUS", "CountedBytes", "Target", "further_cuts", "ways_to_cut"]

CORPUS: Final = Path(__file__).parents[1] / "corpus"
WORDS: Final = Path(__file__).parents[1] / "words"


@dataclass(frozen=True)
class Target:
    """One parser.

    Attributes:
        name: What it is called; also its folder in the corpus, and its file of words.
        fuzz_one: Takes any bytes; what it raises is a finding.
        max_size: How long its inputs are at most: short ones reach everything, and there are more of them in a second.
    """

    name: str
    fuzz_one: Callable[[bytes], Any]
    max_size: int = 1024

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    @property
    def dictionary(self) -> Path:
        """What means something to this parser, in libFuzzer's form: inserted more often than chance would."""
        return WORDS / f"{self.name}.dict"

    def words(self) -> list[bytes]:
        lines = self.dictionary.read_text().splitlines() if self.dictionary.exists() else []
        return [ast.literal_eval(f"b{line}") for line in lines]

    def seeds(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []


def ways_to_cut(data: bytes) -> Iterator[list[bytes]]:
    """Cut bytes as they may arrive: at once, one by one, and in pieces of all sizes."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    yield from further_cuts(data)


def further_cuts(data: bytes) -> Iterator[list[bytes]]:
    """Cut bytes in two, and in pieces of all sizes.

    The same bytes are always cut in the same ways, so that a finding can be repeated.
    """
    rng = random.Random(zlib.crc32(data))
    cut = rng.randint(0, len(data))
    yield [data[:cut], data[cut:]]
    for most in (3, 20, 200):
        pieces, start = [], 0
        while start < len(data):
            end = start + rng.randint(1, most)
            pieces.append(data[start:end])
            start = end
        yield pieces


class CountedBytes(bytearray):
    """Counts the bytes that are searched or copied: work grows with what arrives, not with its square."""

    work = 0

    def tell(self, size: int) -> None:
        self.work += size

    def find(self, sub: bytes, start: int = 0, *end: int) -> int:
        found = super().find(sub, start, *end)
        self.tell((len(self) if found < 0 else found) - start)
        return found

    def rfind(self, sub: bytes, start: int = 0, *end: int) -> int:
        found = super().rfind(sub, start, *end)
        self.tell(min(len(self), *end, len(self)) - max(found, start))
        return found

    def __getitem__(self, key):
        value = super().__getitem__(key)
        if isinstance(key, slice):
            self.tell(len(value))
        return value

    def __iadd__(self, data):
        self.tell(len(data))
        return super().__iadd__(data)

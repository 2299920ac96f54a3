import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctld.wire.buffer import ReceiveBuffer

TERMINATORS = [b"\n", b"\r\n", b"aba", b"\0"]

# Few different bytes, so that terminators appear, half of them across cuts.
pieces = st.binary(max_size=12).map(lambda raw: bytes(b"ab\r\n\0"[byte % 5] for byte in raw))
steps = st.one_of(
    st.tuples(st.just("feed"), pieces),
    st.tuples(st.just("line"), st.none()),
    st.tuples(st.just("until"), st.sampled_from(TERMINATORS)),
    st.tuples(st.just("exactly"), st.integers(0, 8)),
    st.tuples(st.just("skip"), st.sampled_from(TERMINATORS)),
    st.tuples(st.just("all"), st.none()),
    st.tuples(st.just("lines"), st.integers(1, 20)),
    st.tuples(st.just("back"), pieces),
    st.tuples(st.just("blank"), st.none()),
)


class Model:
    """What the buffer does, in the plainest words."""

    def __init__(self):
        self.rest = b""

    def feed(self, data):
        self.rest += data

    def line(self, _):
        return self.until(b"\n")

    def until(self, terminator):
        element, found, rest = self.rest.partition(terminator)
        if not found:
            return None
        self.rest = rest
        return element

    def exactly(self, size):
        if size > len(self.rest):
            return None
        block, self.rest = self.rest[:size], self.rest[size:]
        return block

    def lines(self, limit):
        end = self.rest.rfind(b"\n", 0, limit) + 1
        lines, self.rest = self.rest[:end], self.rest[end:]
        return lines

    def blank(self, _):
        lines = self.rest.split(b"\n")
        while len(lines) > 1 and not lines[0].strip():
            lines.pop(0)
        self.rest = b"\n".join(lines)

    def back(self, data):
        self.rest = data + self.rest

    def all(self, _):
        rest, self.rest = self.rest, b""
        return rest

    def skip(self, terminator):
        if terminator in self.rest:
            self.until(terminator)
            return True
        self.rest = self.rest[max(0, len(self.rest) - len(terminator) + 1) :]
        return False


def act(buffer, step, argument):
    match step:
        case "lines":
            return buffer.take_lines(argument)
        case "blank":
            return buffer.skip_blank_lines(100)
        case "back":
            return buffer.put_back(argument)
        case "feed":
            return buffer.feed(argument)
        case "line":
            return buffer.take_line()
        case "until":
            return buffer.take_until(argument)
        case "exactly":
            return buffer.take_exactly(argument)
        case "skip":
            return buffer.skip_through(argument)
        case _:
            return buffer.take_all()


@given(st.lists(steps, max_size=40))
@example([("feed", b"a\nb"), ("until", b"\0"), ("line", None)])  # where another terminator is not, this one may be
@example([("feed", b"ab"), ("until", b"aba"), ("feed", b"a"), ("until", b"aba")])
@example([("feed", b"aab"), ("skip", b"aba"), ("feed", b"a"), ("skip", b"aba"), ("feed", b"x\n"), ("line", None)])
@example([("feed", b"a\r"), ("until", b"\r\n"), ("exactly", 2), ("feed", b"\n"), ("until", b"\r\n")])
def test_it_does_what_the_model_does(program):
    buffer, model = ReceiveBuffer(), Model()
    for step, argument in program:
        assert act(buffer, step, argument) == getattr(model, step)(argument), (step, argument)
        assert len(buffer) == len(model.rest)
    assert buffer.take_all() == model.rest


class Work:
    """How many bytes have been looked at, and how many moved."""

    looked_at = 0
    moved = 0


def counting(kind, work):
    """Return a type of bytes that counts what is done with them."""

    class Counting(kind):
        def find(self, sub, start=0):
            end = super().find(sub, start)
            work.looked_at += (len(self) if end < 0 else end + len(sub)) - start
            return end

        def __delitem__(self, where):
            super().__delitem__(where)
            work.moved += len(self)

    return Counting


class CountingBuffer(ReceiveBuffer):
    """Counts what it does with its bytes."""

    def __init__(self):
        self.work = Work()
        self._kinds = {kind: counting(kind, self.work) for kind in (bytes, bytearray)}
        super().__init__()

    @property
    def _data(self):
        return self._held

    @_data.setter
    def _data(self, data):
        kind = self._kinds[bytearray if isinstance(data, bytearray) else bytes]
        if not isinstance(data, kind):
            self.work.moved += len(data)
            data = kind(data)
        self._held = data


def counting_buffer():
    buffer = CountingBuffer()
    return buffer, buffer.work


def take_all_lines(buffer):
    lines = []
    while (line := buffer.take_line()) is not None:
        lines.append(bytes(line))
    return lines


SIZE = 20_000


@pytest.mark.parametrize("piece", [1, 7, 4096, SIZE])
@pytest.mark.parametrize("line", [b"\n", b"x" * 99 + b"\n", b"x" * (SIZE - 1) + b"\n"])
def test_the_work_is_linear_in_what_arrives(piece, line):
    wire = line * (SIZE // len(line))
    buffer, count = counting_buffer()
    found = 0
    for start in range(0, len(wire), piece):
        buffer.feed(wire[start : start + piece])
        found += len(take_all_lines(buffer))
    assert found == len(wire) // len(line)
    assert count.looked_at <= 2 * len(wire)
    assert count.moved <= 2 * len(wire)


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_skipping_is_linear_and_holds_nothing(piece):
    buffer, count = counting_buffer()
    for _ in range(SIZE // piece):
        buffer.feed(b"x" * piece)
        assert not buffer.skip_through(b"\n")
        assert len(buffer) == 0
    buffer.feed(b"\nrest")
    assert buffer.skip_through(b"\n")
    assert buffer.take_all() == b"rest"
    assert count.looked_at <= 2 * SIZE


def test_consumed_bytes_are_not_kept():
    buffer = ReceiveBuffer()
    for _ in range(100):
        buffer.feed(b"x" * 1000 + b"\ny")
        assert buffer.take_line() is not None
    assert len(buffer._data) < 2100


def test_an_empty_buffer_gives_its_memory_back():
    buffer = ReceiveBuffer()
    buffer.feed(b"x" * 1_000_000 + b"\n")
    buffer.take_line()
    assert buffer._data.__sizeof__() < 1000


def test_what_is_taken_is_a_copy():
    buffer = ReceiveBuffer()
    buffer.feed(b"one\n")
    buffer.feed(b"two\n")
    line = buffer.take_line()
    buffer.feed(b"three")
    line += b"!"
    assert buffer.take_all() == b"two\nthree"


def test_of_blank_lines_one_that_is_too_long_stays():
    buffer = ReceiveBuffer()
    buffer.feed(b"\n  \n" + b" " * 11 + b"\nx")
    buffer.skip_blank_lines(10)
    assert buffer.take_line() == b""
    buffer.skip_blank_lines(11)
    assert buffer.take_all() == b"x"

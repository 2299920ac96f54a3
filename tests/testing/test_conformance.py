"""The checks find what they are there for: each is given a codec with a planted defect."""

import pytest

from ctld.errors import RemoteProtocolError
from ctld.testing import check_codec, check_garbage
from ctld.testing.conformance import events_of
from ctld.wire.codec import END_OF_INPUT, NEED_DATA
from ctld.wire.messages import Cancel, Request


class WordCodec:
    """A toy dialect: each word that ends with ";" is a request."""

    def __init__(self):
        self.data = b""
        self.eof = False

    @property
    def pending(self):
        return len(self.data)

    def receive_data(self, data):
        self.data += data

    def receive_eof(self):
        self.eof = True

    def next_event(self):
        word, found, rest = self.data.partition(b";")
        if not found:
            if self.eof:
                self.data = b""
                return END_OF_INPUT
            return NEED_DATA
        self.data = rest
        return self.event(word)

    def event(self, word):
        if word.startswith(b"!"):
            raise RemoteProtocolError("a word that ends the connection")
        return Cancel(word.decode("latin-1")) if word.startswith(b"-") else Request(word.decode("latin-1"))

    def send(self, message, request_id=None):
        raise NotImplementedError

    def data_to_send(self):
        return b""

    def trailing_data(self):
        rest, self.data = self.data, b""
        return rest


CASES = [
    (b"ab;", [Request("ab")]),
    (b"-c;", [Cancel("-c")]),
    (b"d;e;", [Request("d"), Request("e")]),
    (b";", [Request("")]),
]


class StaleScan(WordCodec):
    """Goes on searching where it stopped, even after what came before is gone."""

    def __init__(self):
        super().__init__()
        self.scanned = 0

    def next_event(self):
        end = self.data.find(b";", self.scanned)
        if end < 0:
            self.scanned = len(self.data)
            return NEED_DATA
        word, self.data = self.data[:end], self.data[end + 1 :]
        return self.event(word)


class OneEventPerRead(WordCodec):
    def receive_data(self, data):
        super().receive_data(data)
        self.ready = True

    def next_event(self):
        if not self.ready:
            return NEED_DATA
        self.ready = False
        return super().next_event()


class KeepsTheLast(WordCodec):
    def trailing_data(self):
        return b";"


class CountsWrongly(WordCodec):
    @property
    def pending(self):
        return len(self.data) + 1


class GivesNone(WordCodec):
    def event(self, word):
        return None


def test_a_right_codec_passes():
    check_codec(WordCodec, CASES)


@pytest.mark.parametrize("codec", [StaleScan, OneEventPerRead, KeepsTheLast, CountsWrongly, GivesNone])
def test_a_wrong_codec_is_found(codec):
    with pytest.raises(AssertionError):
        check_codec(codec, CASES)


def test_a_wrong_expectation_is_found():
    with pytest.raises(AssertionError, match="means"):
        check_codec(WordCodec, [(b"a;", [Request("b")])])


def test_an_unfinished_case_is_found():
    with pytest.raises(AssertionError):
        check_codec(WordCodec, [(b"a;b", [Request("a")])])


def test_garbage_returns_its_events():
    assert check_garbage(WordCodec, b"a;-b;rest") == [Request("a"), Cancel("-b")]


def test_garbage_may_end_the_connection():
    assert check_garbage(WordCodec, b"a;!;b;") == [Request("a")]


class Crashes(WordCodec):
    def event(self, word):
        raise ValueError("a defect")


class NeverEnds(WordCodec):
    def receive_eof(self):
        pass


class MeaningDependsOnTheCut(WordCodec):
    def receive_data(self, data):
        super().receive_data(data.removeprefix(b"x"))


class ErrorDependsOnTheCut(WordCodec):
    def receive_data(self, data):
        super().receive_data(data)
        if len(data) > 1 and b"!" in data:
            raise RemoteProtocolError("only when it comes at once")


@pytest.mark.parametrize(
    ("codec", "junk", "problem"),
    [
        (Crashes, b"a;", ValueError),
        (NeverEnds, b"a;", AssertionError),
        (GivesNone, b"a;", AssertionError),
        (MeaningDependsOnTheCut, b"axb;", AssertionError),
        (ErrorDependsOnTheCut, b"a;b!", AssertionError),
    ],
)
def test_garbage_finds_what_breaks_the_contract(codec, junk, problem):
    with pytest.raises(problem):
        check_garbage(codec, junk)


def test_events_of_stops_where_it_is_told():
    codec = WordCodec()
    assert events_of(codec, [b"a", b";b"]) == [Request("a")]
    assert codec.pending == 1
    assert events_of(codec, [b";c"], eof=True) == [Request("b")]
    with pytest.raises(AssertionError, match="waits for nothing"):
        events_of(NeverEnds(), [b"a"], eof=True)


class TogetherCodec(WordCodec):
    """A toy dialect whose requests can be taken together."""

    def receive_requests(self, data):
        if self.data or not data.endswith(b";") or b"-" in data:
            self.receive_data(data)
            return None
        return [self.event(word) for word in data.split(b";")[:-1]]

    def return_requests(self, data, taken):
        self.data = b";".join(data.split(b";")[taken:]) + self.data

    def hand_out(self, take):
        return None


def test_what_is_taken_together_means_the_same():
    check_codec(TogetherCodec, CASES)


@pytest.mark.parametrize(
    ("method", "defect", "how"),
    [
        ("receive_requests", lambda codec, data: [], "together"),
        ("return_requests", lambda codec, data, taken: None, "one by one"),
        ("hand_out", lambda codec, take: take([Request("more")]) - 1, "together"),
    ],
)
def test_requests_that_are_taken_together_and_get_lost_or_more(method, defect, how):
    made = type("Defective", (TogetherCodec,), {method: defect})
    with pytest.raises(AssertionError, match=f"when requests are taken {how}"):
        check_codec(made, CASES)

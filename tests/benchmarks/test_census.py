"""The census: what a process holds, by type."""

import sys

import pytest

from benchmarks.census import census, name_of


class Thing:
    def __init__(self):
        self.first, self.second = 1.5, 2.5

    def method(self):
        pass

    async def work(self):
        pass


def test_objects_are_counted_with_their_size_and_their_attributes():
    name = f"{Thing.__module__}.Thing"
    assert name not in census()
    kept = [Thing() for _ in range(50)]
    count, size = census()[name]
    assert count == len(kept)
    assert size >= 50 * (sys.getsizeof(kept[0]) + 16)


def test_what_is_referred_to_is_counted_once():
    def lists():
        return census().get("list", (0, 0))

    census()
    before = lists()[0]
    shared = []
    kept = [[shared] for _ in range(100)]
    assert lists()[0] - before in range(101, 110)
    del kept


def test_names_tell_whose_it_is():
    thing = Thing()
    work = thing.work()
    assert name_of(work) == "coroutine Thing.work()"
    work.close()
    assert name_of(thing.method) == "method Thing.method"
    assert name_of([]) == "list"
    assert name_of(thing) == f"{Thing.__module__}.Thing"


@pytest.mark.parametrize("ancient", [Thing, Thing.method, sys, len])
def test_what_is_as_old_as_the_program_is_not_counted(ancient):
    assert name_of(ancient) not in census()

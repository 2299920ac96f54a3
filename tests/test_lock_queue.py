"""One lock: fairness, sharing, re-entrance and the queue, step by step."""

from collections.abc import Iterator

import pytest

from ctld.lock_queue import Claim, Lock, LockKey, Party, lock_type

KEY: LockKey = ("state", "container", "a")


def party(lock: Lock[Claim], owner: str, *exclusive: bool) -> Party[Claim]:
    made = Party(lock, owner, holds=False)
    for each in exclusive:
        made.claims.append(Claim(owner, each))
        made.exclusive += each
    return made


def hold(lock: Lock[Claim], owner: str, *exclusive: bool) -> Party[Claim]:
    made = party(lock, owner, *exclusive)
    made.holds = True
    lock.holders[owner] = made
    return made


def queue(lock: Lock[Claim], owner: str, *exclusive: bool) -> Party[Claim]:
    made = party(lock, owner, *exclusive)
    lock.append(made)
    return made


def waiting(lock: Lock[Claim]) -> list[str]:
    """The queue, read from both ends."""
    forwards = [party.owner_id for party in lock.queue()]
    backwards, last = [], lock.last
    while last is not None:
        backwards.append(last.owner_id)
        last = last.ahead
    assert backwards == forwards[::-1]
    return forwards


def granted(lock: Lock[Claim]) -> list[str]:
    return [party.owner_id for party in lock.hand_over()]


@pytest.fixture
def lock() -> Lock[Claim]:
    return Lock(KEY)


@pytest.mark.parametrize(
    ("family", "exclusive", "name"),
    [
        ("state", True, "exclusive"),
        ("state", False, "inclusive"),
        ("manipulation", True, "manipulation"),
        ("operation", False, "operation"),
    ],
)
def test_names_of_locks(family, exclusive, name):
    assert lock_type((family, "container", "a"), exclusive) == name


def test_a_free_lock_admits_anybody(lock):
    assert lock.admits(True)
    assert lock.admits(False)


def test_readers_admit_readers_only(lock):
    hold(lock, "P", False)
    assert lock.admits(False)
    assert not lock.admits(True)


def test_a_writer_admits_nobody(lock):
    hold(lock, "P", True)
    assert not lock.admits(False)
    assert not lock.admits(True)


def test_a_writer_that_also_reads_is_a_writer(lock):
    hold(lock, "P", True, False)
    assert not lock.admits(False)


@pytest.mark.parametrize(
    ("leaves", "left"),
    [("P", ["Q", "R"]), ("Q", ["P", "R"]), ("R", ["P", "Q"])],
)
def test_anybody_can_leave_the_queue(lock, leaves, left):
    parties = {owner: queue(lock, owner, True) for owner in ("P", "Q", "R")}
    lock.unlink(parties[leaves])
    assert waiting(lock) == left
    assert parties[leaves].ahead is parties[leaves].behind is None


def test_the_last_one_to_leave_leaves_an_empty_queue(lock):
    lock.unlink(queue(lock, "P", True))
    assert lock.first is lock.last is None
    assert waiting(lock) == []


def test_hand_over_to_one_writer(lock):
    queue(lock, "P", True)
    queue(lock, "Q", True)
    assert granted(lock) == ["P"]
    assert waiting(lock) == ["Q"]
    assert list(lock.holders) == ["P"]
    assert lock.holders["P"].holds


def test_hand_over_to_all_readers_up_to_the_next_writer(lock):
    for owner, exclusive in [("P", False), ("Q", False), ("R", True), ("S", False)]:
        queue(lock, owner, exclusive)
    assert granted(lock) == ["P", "Q"]
    assert waiting(lock) == ["R", "S"]


def test_nothing_is_handed_over_past_a_writer_that_waits_for_readers(lock):
    hold(lock, "P", False)
    queue(lock, "Q", True)
    queue(lock, "R", False)
    assert granted(lock) == []
    assert waiting(lock) == ["Q", "R"]


def test_a_party_with_one_exclusive_claim_is_exclusive(lock):
    hold(lock, "P", False)
    queue(lock, "Q", False, True)
    assert granted(lock) == []


def owners_of(parties: Iterator[Party[Claim]]) -> list[str]:
    return [party.owner_id for party in parties]


def test_blockers_of_a_writer_are_all_before_it(lock):
    for owner in ("P", "Q"):
        hold(lock, owner, False)
    for owner, exclusive in [("R", True), ("S", False)]:
        queue(lock, owner, exclusive)
    writer = queue(lock, "T", True)
    queue(lock, "U", True)
    assert owners_of(writer.blockers()) == ["P", "Q", "S", "R"]
    assert owners_of(writer.nearest_blockers()) == ["S", "R"]


def test_blockers_of_a_reader_are_the_writers_before_it(lock):
    for owner in ("P", "Q"):
        hold(lock, owner, False)
    for owner, exclusive in [("R", True), ("S", False), ("T", True), ("U", False)]:
        queue(lock, owner, exclusive)
    reader = queue(lock, "V", False)
    assert owners_of(reader.blockers()) == ["T", "R"]
    assert owners_of(reader.nearest_blockers()) == ["T"]


def test_at_the_head_of_the_queue_holders_are_the_nearest_blockers(lock):
    hold(lock, "P", True)
    first = queue(lock, "Q", False)
    second = queue(lock, "R", False)
    for reader in (first, second):
        assert owners_of(reader.blockers()) == owners_of(reader.nearest_blockers()) == ["P"]


def test_a_writer_behind_readers_only_waits_for_them_and_the_holders(lock):
    hold(lock, "P", True)
    queue(lock, "Q", False)
    writer = queue(lock, "R", True)
    assert owners_of(writer.nearest_blockers()) == ["Q", "P"]


def test_readers_do_not_block_readers(lock):
    hold(lock, "P", False)
    queue(lock, "Q", False)
    reader = queue(lock, "R", False)
    assert owners_of(reader.blockers()) == owners_of(reader.nearest_blockers()) == []


def test_a_party_knows_its_lock(lock):
    assert party(lock, "P", True).key == KEY

"""N2: bytes queued per server."""

from hypothesis import given
from hypothesis import strategies as st

from ctld.budget import UNIT, InputBudget


def test_it_is_exhausted_at_its_limit_and_calls_those_who_wait_below_it():
    budget = InputBudget(2 * UNIT)
    called = []
    budget.change(1)
    assert not budget.exhausted
    budget.change(1)
    assert budget.exhausted
    assert budget.used == 2 * UNIT
    budget.wait("a", lambda: called.append("a"))
    budget.wait("b", lambda: called.append("b"))
    budget.wait("a", lambda: called.append("a again"))
    budget.forget("b")
    budget.forget("nobody")
    budget.change(1)
    assert called == []
    budget.change(-2)
    assert called == ["a again"]
    budget.change(-1)
    assert called == ["a again"]


def test_one_who_is_called_may_wait_again():
    budget = InputBudget(UNIT)
    called = []

    def resume():
        called.append(budget.used)
        budget.change(1)
        budget.wait("me", resume)

    budget.change(1)
    budget.wait("me", resume)
    budget.change(-1)
    assert called == [0]
    assert budget.exhausted


@given(st.lists(st.integers(0, 8)))
def test_what_is_given_back_is_nothing_in_the_end(charges):
    budget = InputBudget(4 * UNIT)
    for charge in charges:
        budget.change(charge)
    assert budget.exhausted == (sum(charges) >= 4)
    for charge in charges:
        budget.change(-charge)
    assert budget.used == 0

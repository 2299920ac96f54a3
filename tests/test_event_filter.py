"""Filters of events: N6, "per key: equal, or member of a list", and the ancestor's defect (behaviour, 1.6)."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctld.errors import InvalidOptions
from ctld.event_filter import MAX_TERMS, EventFilter


def test_no_terms_at_all_want_everything():
    assert EventFilter.of() == EventFilter()
    assert EventFilter().matches("x", {"a": [1]})
    assert not EventFilter().selective


def test_defect_1_6_types_select_and_are_not_inverted():
    wanted = EventFilter.of(["a", "b"])
    assert [wanted.matches(type, {}) for type in "abc"] == [True, True, False]


@pytest.mark.parametrize("value", [{"a": 1}, [[1]], [{"a": 1}], object()])
def test_a_filter_compares_plain_values_only(value: object):
    with pytest.raises(InvalidOptions, match="'id'") as caught:
        EventFilter.of(opts={"id": value})
    assert caught.value.fields == {"path": "$.opts.id"}


def test_a_filter_is_bounded():
    EventFilter.of(map(str, range(MAX_TERMS)))
    EventFilter.of(opts={"n": list(range(MAX_TERMS))})
    for types, opts in (
        (map(str, range(MAX_TERMS)), {"n": 1}),
        ((), {"n": list(range(MAX_TERMS + 1))}),
        ((), {str(n): [] for n in range(MAX_TERMS + 1)}),
    ):
        with pytest.raises(InvalidOptions, match=str(MAX_TERMS)):
            EventFilter.of(types, opts)


scalars = (
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0, 0.5]) | st.sampled_from(["", "1", "a"])
)
values = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.just("k"), scalars, max_size=1)
event_opts = st.dictionaries(st.sampled_from("abc"), values)
filters = st.dictionaries(st.sampled_from("abc"), scalars | st.lists(scalars, max_size=3), max_size=2)


def same_json(one: object, other: object) -> bool:
    """Whether two plain values are the same in JSON: the model, by writing it down."""
    if isinstance(one, list | dict) or isinstance(other, list | dict):
        return False
    plain = [float(v) if isinstance(v, int) and not isinstance(v, bool) else v for v in (one, other)]
    return json.dumps(plain[0]) == json.dumps(plain[1])


@given(st.sets(st.sampled_from("xyz")), filters, st.sampled_from("xyz"), event_opts)
@settings(max_examples=500, deadline=None)
def test_the_filter_agrees_with_its_model(
    types: set[str], wanted: Mapping[str, object], type: str, opts: Mapping[str, object]
):
    expected = (not types or type in types) and all(
        key in opts and any(same_json(opts[key], v) for v in (value if isinstance(value, list) else [value]))
        for key, value in wanted.items()
    )
    made = EventFilter.of(types, wanted)
    assert made.matches(type, opts) is expected
    assert made.selective is bool(types or wanted)


def test_a_filter_is_bounded_before_it_is_hashed():
    class Counted(str):
        hashed = 0

        def __hash__(self) -> int:
            Counted.hashed += 1
            return 1

    many = [Counted(number) for number in range(MAX_TERMS + 1)]
    for types, opts in ((many, {}), ((), {"n": many})):
        with pytest.raises(InvalidOptions, match=str(MAX_TERMS)):
            EventFilter.of(types, opts)
    assert Counted.hashed == 0

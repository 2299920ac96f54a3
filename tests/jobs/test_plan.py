import pytest

from ctld.jobs.jobfile import InvalidJobFile, JobSpec
from ctld.jobs.plan import Change, Plan, exec_digest_input, find_cycles, make_plan, stop_levels
from ctld.jobs.state import Policy


def spec(command: str = "x", **keys) -> JobSpec:
    return JobSpec(command=command, **keys)


def needs(**dependencies: str) -> dict[str, JobSpec]:
    return {name: spec(depends_on=tuple(needed)) for name, needed in dependencies.items()}


def test_every_kind_of_change_is_found():
    loaded = {"same": spec(), "other": spec(), "gone": spec(), "broken": spec()}
    found = {"same": spec(), "other": spec("y"), "new": spec(), "broken": InvalidJobFile("cmd: it is empty")}
    plan = make_plan(loaded, found, remove_missing=True)
    assert plan.changes == (
        Change(name="broken", kind="invalid", reason="cmd: it is empty"),
        Change(name="gone", kind="removed", restart=True),
        Change(name="new", kind="added"),
        Change(name="other", kind="changed", keys=("command",), restart=True),
        Change(name="same", kind="unchanged"),
    )
    assert plan.names("added") == ["new"]
    assert make_plan(loaded, found, remove_missing=False).names("unchanged") == ["gone", "same"]
    assert make_plan({}, {}, remove_missing=True) == Plan()


@pytest.mark.parametrize(
    ("change", "restart"),
    [
        ({"processes": 2}, True),
        ({"env": {"A": "b"}}, True),
        ({"user": "www"}, True),
        ({"limits": {1: (2, 3)}}, True),
        ({"policy": Policy(stop_time=9)}, False),
        ({"auto_start": False}, False),
        ({"stop_signal": 2}, False),
        ({"depends_on": ("y",)}, False),
        ({"log_max_bytes": 9, "stdout": "out"}, True),
    ],
)
def test_only_what_a_process_was_given_at_its_start_needs_a_restart(change, restart):
    (made,) = make_plan({"a": spec()}, {"a": spec(**change)}, remove_missing=True).changes
    assert (set(made.keys), made.restart) == (set(change), restart)
    alike = exec_digest_input(spec()) == exec_digest_input(spec(**change))
    assert alike is (not restart or "processes" in change)


def test_the_order_of_keys_is_no_difference():
    one, other = spec(env={"a": "1", "b": "2"}), spec(env={"b": "2", "a": "1"})
    assert exec_digest_input(one) == exec_digest_input(other)


def test_cycles_are_found_with_the_way_around():
    specs = needs(a="b", b="c", c="a", d="a", e="e", f="gh", g="", h="g", i="?")
    assert find_cycles(specs) == {
        "a": ("a", "b", "c", "a"),
        "b": ("b", "c", "a", "b"),
        "c": ("c", "a", "b", "c"),
        "e": ("e", "e"),
    }


def test_a_file_that_closes_a_cycle_is_invalid_and_a_loaded_job_stays():
    loaded = needs(a="b", b="")
    plan = make_plan(loaded, {"b": spec(depends_on=("a",))}, remove_missing=False)
    assert [(change.name, change.kind, change.reason) for change in plan.changes] == [
        ("a", "unchanged", ""),
        ("b", "invalid", "dependsOn: b -> a -> b"),
    ]


def test_nobody_stops_before_those_who_need_it():
    assert stop_levels(needs(app=["db", "cache"], db=["disk"], cache="", disk="", lone="")) == [
        ["app", "lone"],
        ["cache", "db"],
        ["disk"],
    ]
    assert stop_levels(needs(a="b", b="a")) == [["a", "b"]]
    assert stop_levels({}) == []

"""What the commands about jobs answer, made of what the supervisor knows."""

from ctld.commands.job_rows import event_details, reload_result
from ctld.jobs.plan import Change, Plan
from ctld.jobs.snapshot import JobEvent
from ctld.jobs.state import State


def test_an_event_about_a_process_and_one_about_a_job():
    event = JobEvent(job="web", message="Stopping.", index=1, state=State.STOPPING, pid=7)
    assert event_details(event) == {"name": "web", "process": 1, "state": "stopping", "pid": 7, "message": "Stopping."}
    assert event_details(JobEvent(job="web", message="Job is gone.")) == {"name": "web", "message": "Job is gone."}


def test_a_plan_in_lists():
    changes = (
        Change(name="a", kind="added"),
        Change(name="b", kind="changed", keys=("policy",)),
        Change(name="c", kind="changed", keys=("command",), restart=True),
        Change(name="d", kind="removed", restart=True),
        Change(name="e", kind="unchanged"),
        Change(name="f", kind="invalid", reason="why"),
    )
    result = reload_result(Plan(changes), done=False)
    assert (result.done, result.added, result.removed, result.unchanged) == (False, ["a"], ["d"], ["e"])
    assert (result.changed, result.restarted) == ({"b": ("policy",), "c": ("command",)}, ["c"])
    assert result.invalid == {"f": "why"}

"""The commands about jobs together, and the events about them."""

from ctld.commands.builtins import builtin_commands
from ctld.commands.jobs import job_commands, publish_job_events
from ctld.events import EventBus
from tests.jobs.conftest import lab

__all__ = ["lab"]

COMMANDS = {
    "job_attach", "job_delete", "job_kill", "job_list", "job_pause", "job_pull", "job_push", "job_reload", "job_repair",
    "job_restart", "job_resume", "job_signal", "job_start", "job_status", "job_stop", "job_tail", "job_wait",
}  # fmt: skip


async def test_all_commands_are_there_and_fit_with_the_built_in_ones(lab):
    table = job_commands(await lab.supervise()).resolve(builtin_commands())
    assert {name for name in table if name.startswith("job_")} == COMMANDS
    assert all(table[name].doc for name in COMMANDS)


async def test_what_happens_to_jobs_is_published_until_that_is_ended(lab):
    lab.file("web", "sleep 60")
    supervisor, bus = await lab.supervise(), EventBus()
    unsubscribe = publish_job_events(supervisor, bus)
    supervisor.start_job("web")
    await supervisor.wait_for("web", "running")
    unsubscribe()
    supervisor.kill_job("web")
    await supervisor.wait_for("web", "stopped")
    assert [event.opts["state"] for event in bus.past("job", limit=10)] == ["starting", "alive"]

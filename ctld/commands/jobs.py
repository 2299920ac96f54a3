"""The commands about jobs: `job_commands(supervisor)` makes them.

A command that changes a job holds its manipulation lock, as `job NAME`, also while it waits
for the job to get where it was wished to be: nobody undoes meanwhile what somebody else waits
for.  `job_kill` and `job_signal` take the lock only if it is free, because they are what
helps against a job that keeps the holder of its lock waiting.
"""

from collections.abc import Callable
from typing import Any, Final

from ctld.commands.job_attach import attach_commands
from ctld.commands.job_files import file_commands
from ctld.commands.job_looks import look_commands
from ctld.commands.job_rows import event_details
from ctld.commands.job_wishes import wish_commands
from ctld.commands.registry import CommandRegistry
from ctld.events import EventBus
from ctld.jobs.supervisor import Supervisor

__all__ = ["JOB_EVENT", "job_commands", "publish_job_events"]

JOB_EVENT: Final = "job"
"""The type of the events about what happens to jobs."""


def job_commands(supervisor: Supervisor) -> CommandRegistry[Any]:
    """Make the registry of the commands about the jobs of a supervisor."""
    commands = CommandRegistry[Any]()
    for make in (look_commands, wish_commands, file_commands, attach_commands):
        commands.include(make(supervisor))
    return commands


def publish_job_events(supervisor: Supervisor, events: EventBus) -> Callable[[], None]:
    """Publish what happens to jobs; returns the function that ends it."""
    return supervisor.subscribe(lambda event: events.publish(JOB_EVENT, **event_details(event)))

"""What a daemon does about processes that an earlier one left behind.

Documented behaviour.  A process that still lives is recognised by its pid and start time (or
by the token in its environment, if the earlier daemon died while starting it).  It is taken
over when its job still is what it was started as; its exit status cannot be learnt then, so
its end counts as unexpected.  If it was being stopped, that is repeated.  When the job is
gone, has changed or has fewer processes, it is thawed and stopped, and nothing new starts
before it is gone.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable

from ctld.errors import CommandFailed
from ctld.jobs.freezer import Freezer
from ctld.jobs.job import Job
from ctld.jobs.ledger import Entry, Ledger
from ctld.jobs.process import exec_digest
from ctld.jobs.search import find_process
from ctld.processes import Child, ProcessIdentity, adopt

__all__ = ["recover"]

logger = logging.getLogger("ctld.jobs")


async def recover(ledger: Ledger, find_job: Callable[[str], Job | None], freezer: Freezer) -> None:
    """Take over what an earlier daemon left running, or stop it.

    Args:
        ledger: Where the earlier daemon noted what it ran.
        find_job: Finds a loaded job by its name.
        freezer: What may have frozen it.
    """
    strangers: dict[str, list[tuple[Entry, Child]]] = {}
    for entry in ledger.entries():
        identity = await find_process(entry)
        child = adopt(identity, kill_group=True) if identity else None
        if child is None:
            ledger.forget(entry.job, entry.index)
        elif (job := find_job(entry.job)) and _is_same(job, entry):
            _take_over(job, entry, child)
        else:
            logger.info("%s/%d: pid %d is no longer wanted", entry.job, entry.index, child.pid)
            strangers.setdefault(entry.job, []).append((entry, child))
    for found in strangers.values():
        freezer.thaw(freezer.frozen([child.pid for _, child in found]))
    await asyncio.gather(*(_stop(ledger, entry, child) for found in strangers.values() for entry, child in found))


def _is_same(job: Job, entry: Entry) -> bool:
    return entry.index < len(job.processes) and exec_digest(job.spec) == entry.digest


def _take_over(job: Job, entry: Entry, child: Child) -> None:
    job.processes[entry.index].adopt(child, entry, _age(child.identity))
    job.take_over(entry.index, stopping=entry.stopping, again=entry.again)


async def _stop(ledger: Ledger, entry: Entry, child: Child) -> None:
    try:
        await child.terminate(entry.stop_time, entry.stop_signal)
    except CommandFailed as error:
        logger.warning("%s/%d: %s", entry.job, entry.index, error)
        child.release()
    ledger.forget(entry.job, entry.index)


def _age(identity: ProcessIdentity) -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - identity.started / os.sysconf("SC_CLK_TCK")

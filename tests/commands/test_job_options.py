"""The lock of a job, and who goes on without it."""

import pytest

from ctld.commands.job_options import JobLock, hold_if_free
from ctld.errors import Locked
from ctld.testing import context


async def test_the_lock_is_named_after_the_job():
    assert JobLock("web/api").lock_resource() == ("job", "web/api")


async def test_it_is_held_if_it_is_free_and_else_one_goes_on_without():
    one, other = context(), context()
    async with hold_if_free(one, "web"):
        with pytest.raises(Locked):
            async with other.manipulate(JobLock("web")):
                pytest.fail("somebody else holds it")
        async with hold_if_free(other, "web"), other.manipulate(JobLock("db")):
            pass
    async with other.manipulate(JobLock("web")):
        pass


async def test_errors_pass():
    with pytest.raises(Locked, match="mine"):
        async with hold_if_free(context(), "web"):
            raise Locked("mine")

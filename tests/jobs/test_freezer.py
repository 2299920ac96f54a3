"""The freezer of cgroup v2: used only where a job is alone in its cgroups."""

import os
import subprocess

import pytest

from ctld.jobs.freezer import Freezer
from tests.jobs.cgroups import FakeTree, kernel_cgroup

__all__ = ["kernel_cgroup"]


@pytest.fixture
def job():
    """A process in a group of its own."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def tree(tmp_path):
    return FakeTree(tmp_path)


def test_a_job_alone_in_its_cgroup_is_frozen_and_thawed(tree, job):
    folder = tree.put(job, "/jobs/web")
    assert tree.freezer.cgroups_of([job]) == [folder]
    assert tree.freezer.freeze([folder])
    assert (folder / "cgroup.freeze").read_text() == "1"
    assert tree.freezer.thaw([folder])
    assert (folder / "cgroup.freeze").read_text() == "0"


@pytest.mark.parametrize("name", ["/", "/system", "/system/ctld"])
def test_the_daemon_never_freezes_itself(tree, job, name):
    tree.put(job, name)
    assert tree.freezer.cgroups_of([job]) == []


def test_a_cgroup_that_holds_others_is_left_alone(tree, job):
    tree.put(job, "/jobs")
    tree.put(os.getppid(), "/jobs/other")
    assert tree.freezer.cgroups_of([job]) == []


@pytest.mark.parametrize("line", ["1:cpu:/x\n", "0::/../outside\n", "0::/a/../b\n", ""])
def test_a_process_without_a_cgroup_of_version_2(tree, job, line):
    tree.put(job, "/jobs/web", line=line or "\n")
    assert tree.freezer.cgroups_of([job]) == []


def test_processes_that_are_gone_and_none_at_all(tree):
    assert tree.freezer.cgroups_of([2**22 + 1]) == []
    assert tree.freezer.cgroups_of([]) == []
    assert not tree.freezer.freeze([])


def test_what_cannot_be_written_is_undone(tree, job, tmp_path):
    folder = tree.put(job, "/jobs/web")
    assert not tree.freezer.freeze([folder, tmp_path / "nothing"])
    assert (folder / "cgroup.freeze").read_text() == "0"


def test_the_real_one_never_names_the_cgroup_of_this_process(job):
    assert Freezer().cgroups_of([job]) == []


def test_what_goes_away_meanwhile_leaves_the_others_thawed(tree, job, tmp_path):
    folder = tree.put(job, "/jobs/web")
    tree.freezer.freeze([folder])
    assert not tree.freezer.thaw([tmp_path / "nothing", folder])
    assert (folder / "cgroup.freeze").read_text() == "0"


def test_whether_a_job_is_frozen_is_asked_of_the_kernel(tree, job):
    folder = tree.put(job, "/jobs/web")
    assert tree.freezer.frozen([job]) == []
    (folder / "cgroup.freeze").write_text("1\n")  # by an earlier daemon, for example
    assert tree.freezer.frozen([job, 2**22 + 1]) == []  # one that is gone: not all of it is known
    assert tree.freezer.frozen([job]) == [folder]


def test_a_frozen_cgroup_that_holds_others_is_left_frozen(tree, job):
    folder = tree.put(job, "/jobs")
    tree.put(os.getppid(), "/jobs/other")
    (folder / "cgroup.freeze").write_text("1")
    assert tree.freezer.frozen([job]) == []


def test_the_kernel_freezes_a_process_and_lets_it_go_on(kernel_cgroup, job):
    freezer = Freezer(cgroups=kernel_cgroup.parent)
    (kernel_cgroup / "cgroup.procs").write_text(str(job))
    assert freezer.frozen([job]) == []
    assert freezer.freeze(freezer.cgroups_of([job]))
    assert freezer.frozen([job]) == [kernel_cgroup]
    while "frozen 1" not in (kernel_cgroup / "cgroup.events").read_text():
        os.sched_yield()
    assert freezer.thaw(freezer.frozen([job]))
    assert freezer.frozen([job]) == []

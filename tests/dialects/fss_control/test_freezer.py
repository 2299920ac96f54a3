"""The freezer of cgroup v2: used only where a job is alone in its cgroups."""

import os
import subprocess

import pytest

from ctld.dialects.fss_control.freezer import cgroups_of, freeze


@pytest.fixture
def job():
    """A process in a group of its own."""
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def tree(tmp_path, job):
    """Cgroups as the kernel shows them, with the job in one of its own."""

    class Tree:
        proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"

        def put(self, pid, name, *, line=None):
            (self.proc / str(pid)).mkdir(parents=True, exist_ok=True)
            (self.proc / str(pid) / "cgroup").write_text(line or f"1:cpu:/x\n0::{name}\n")
            folder = self.cgroups / name[1:]
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / "cgroup.procs", "a") as file:
                file.write(f"{pid}\n")
            (folder / "cgroup.freeze").write_text("0")
            return folder

        def of(self, *pids):
            return cgroups_of(pids, proc=self.proc, cgroups=self.cgroups)

    tree = Tree()
    tree.put(os.getpid(), "/system/ctld")
    return tree


def test_a_job_alone_in_its_cgroup_is_frozen_and_thawed(tree, job):
    folder = tree.put(job, "/jobs/web")
    assert tree.of(job) == [folder]
    assert freeze([folder], frozen=True)
    assert (folder / "cgroup.freeze").read_text() == "1"
    assert freeze([folder], frozen=False)
    assert (folder / "cgroup.freeze").read_text() == "0"


@pytest.mark.parametrize("name", ["/", "/system", "/system/ctld"])
def test_the_daemon_never_freezes_itself(tree, job, name):
    tree.put(job, name)
    assert tree.of(job) == []


def test_a_cgroup_that_holds_others_is_left_alone(tree, job):
    tree.put(job, "/jobs")
    tree.put(os.getppid(), "/jobs/other")
    assert tree.of(job) == []


@pytest.mark.parametrize("line", ["1:cpu:/x\n", "0::/../outside\n", "0::/a/../b\n", ""])
def test_a_process_without_a_cgroup_of_version_2(tree, job, line):
    tree.put(job, "/jobs/web", line=line or "\n")
    assert tree.of(job) == []


def test_processes_that_are_gone_and_none_at_all(tree):
    assert tree.of(2**22 + 1) == []
    assert tree.of() == []
    assert not freeze([], frozen=True)


def test_what_cannot_be_written_is_undone(tree, job, tmp_path):
    folder = tree.put(job, "/jobs/web")
    assert not freeze([folder, tmp_path / "nothing"], frozen=True)
    assert (folder / "cgroup.freeze").read_text() == "0"


def test_the_real_one_never_names_the_cgroup_of_this_process(job):
    assert cgroups_of([job]) == []

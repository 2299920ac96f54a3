import os
import threading

import pytest

from ctld.errors import CommandFailed, NotFound
from ctld.jobs.jobfile import MAX_JOB_FILE
from ctld.jobs.store import InvalidJobName, JobStore, check_name

GOOD_NAMES = ["web", "a", "0", "_", "a.b-c_d", "A9", "x" * 64, "a/b", "/".join("abcdefgh"), "a.tm.json"]
BAD_NAMES = [
    "", ".", "..", ".a", "-a", "a/", "/a", "a//b", "../evil", "a/../b", "a/..", "/etc/passwd", "a b", "a\n", "a\0", "é",
    "x" * 65, "/".join("abcdefghi"), "a\\b", "a;b", "a/.b", "~", "a/./b", "\udcff", "²",
]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    directory = tmp_path / "jobs"
    directory.mkdir()
    return JobStore(str(directory))


@pytest.mark.parametrize("name", GOOD_NAMES)
def test_names_are_written_and_read_back(store, name):
    assert check_name(name) == name
    store.write(name, b"content of " + name.encode())
    assert store.read(name) == b"content of " + name.encode()
    assert store.scan().files == {name: b"content of " + name.encode()}
    store.remove(name)
    assert store.scan().files == {}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_no_other_name_reaches_the_disk(store, name):
    for call in (check_name, store.read, store.remove, lambda name: store.write(name, b"")):
        with pytest.raises(InvalidJobName):
            call(name)
    assert os.listdir(store.directory) == []


def test_the_file_is_for_the_daemon_alone(store):
    store.write("web/a", b"")
    assert os.stat(f"{store.directory}/web/a.tm.json").st_mode & 0o777 == 0o600
    assert os.stat(f"{store.directory}/web").st_mode & 0o777 == 0o700


def test_a_scan_finds_job_files_at_every_depth_in_order(store):
    for name in ("z", "a/z", "a", "m/n/o"):
        store.write(name, name.encode())
    for other in ("readme", "x.json", ".hidden.tm.json", ".a.tm.json.new"):
        open(f"{store.directory}/{other}", "w").close()
    os.mkdir(f"{store.directory}/.git")
    open(f"{store.directory}/.git/x.tm.json", "w").close()
    scan = store.scan()
    assert list(scan.files) == ["a", "a/z", "m/n/o", "z"]
    assert scan.problems == {}


def test_a_scan_says_what_it_cannot_use(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    directory = store.directory
    os.symlink(secret, f"{directory}/link.tm.json")
    os.symlink(tmp_path, f"{directory}/folder")
    os.mkfifo(f"{directory}/fifo.tm.json")
    os.mkdir(f"{directory}/dir.tm.json")
    open(f"{directory}/bad name.tm.json", "w").close()
    with open(f"{directory}/huge.tm.json", "wb") as file:
        file.truncate(MAX_JOB_FILE + 1)
    scan = store.scan()
    assert scan.files == {}
    assert set(scan.problems) == {"link.tm.json", "folder", "fifo.tm.json", "bad name.tm.json", "huge.tm.json"}
    assert scan.problems["folder"] == "symbolic links are not followed"
    assert scan.problems["fifo.tm.json"] == "the file of job 'fifo' is no plain file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_a_problem(store):
    os.mkdir(f"{store.directory}/closed", 0)
    assert "closed" in store.scan().problems


def test_no_symbolic_link_leads_outside(store, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.tm.json").write_text("untouched")
    os.symlink(outside, f"{store.directory}/sub")
    os.symlink(outside / "x.tm.json", f"{store.directory}/file.tm.json")
    for call in (store.read, lambda name: store.write(name, b"evil"), store.remove):
        with pytest.raises(CommandFailed):
            call("sub/x")
    with pytest.raises(CommandFailed):
        store.read("file")
    store.write("file", b"new")  # replaces the link, not what it points to
    assert (outside / "x.tm.json").read_text() == "untouched"
    assert store.read("file") == b"new"


def test_a_link_in_the_place_of_the_draft_is_not_followed(store, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    os.symlink(victim, f"{store.directory}/.a.tm.json.new")
    with pytest.raises(CommandFailed):
        store.write("a", b"evil")
    assert victim.read_text() == "untouched"


def test_what_is_not_there_is_not_found(store):
    for name in ("a", "a/b"):
        with pytest.raises(NotFound) as caught:
            store.read(name)
        assert caught.value.fields == {"kind": "job", "name": name}
        store.remove(name)


def test_a_missing_directory_is_named(tmp_path):
    for call in (lambda store: store.scan(), lambda store: store.read("a"), lambda store: store.write("a", b"")):
        with pytest.raises(NotFound, match="cannot read the job directory"):
            call(JobStore(str(tmp_path / "none")))
    (tmp_path / "file").touch()
    with pytest.raises(CommandFailed, match="Not a directory"):
        JobStore(str(tmp_path / "file")).scan()


def test_a_folder_in_the_place_of_a_file_is_an_error(store):
    os.mkdir(f"{store.directory}/a.tm.json")
    with pytest.raises(CommandFailed, match="the file of job 'a'"):
        store.write("a", b"")
    with pytest.raises(CommandFailed):
        store.read("a")
    with pytest.raises(CommandFailed, match="the file of job 'a': Is a directory"):
        store.remove("a")


def test_a_write_that_fails_leaves_the_old_file(store, monkeypatch):
    store.write("a", b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(CommandFailed, match="the file of job 'a': No space left on device"):
            store.write("a", b"new")
    assert store.read("a") == b"old"
    store.write("a", b"newer")
    assert store.read("a") == b"newer"


def test_a_reader_never_sees_half_a_file(store):
    versions = [bytes([65 + n]) * 100_000 for n in range(2)]
    store.write("a", versions[0])
    done = threading.Event()

    def write():
        for n in range(60):
            store.write("a", versions[n % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.read("a") in versions
    writer.join()


def test_what_anybody_may_write_is_not_run(tmp_path):
    store = JobStore(str(tmp_path))
    for name in ("open", "closed", "group/open", "group/closed", "folder/any"):
        store.write(name, b"{}")
    for name in ("open", "group/open"):
        (tmp_path / f"{name}.tm.json").chmod(0o602)
    (tmp_path / "folder").chmod(0o1777)
    scan = store.scan()
    assert set(scan.files) == {"closed", "group/closed"}
    assert {path: reason.partition(":")[0] for path, reason in scan.problems.items()} == {
        "open.tm.json": "anybody may write the file of job 'open'",
        "group/open.tm.json": "anybody may write the file of job 'group/open'",
        "folder/any.tm.json": "anybody may write to the job directory 'folder'",
    }
    with pytest.raises(CommandFailed, match="anybody may write"):
        store.write("folder/other", b"{}")
    store.write("open", b"{}")  # a new file has the right mode
    assert store.read("open") == b"{}"


def test_a_directory_that_anybody_may_write_is_not_used(tmp_path):
    tmp_path.chmod(0o777)
    for use in (JobStore(str(tmp_path)).scan, lambda: JobStore(str(tmp_path)).read("a")):
        with pytest.raises(CommandFailed, match="anybody may write to the job directory"):
            use()

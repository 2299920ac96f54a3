"""`cp` and `globcp`: the golden bytes over the wire, and every rule of the page by name."""

import errno
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ctld.errors import CtldError
from ctld.gatherer.copy import Rules, copy, copy_matching
from ctld.gatherer.patterns import Pattern
from tests.gatherer.driver import Driver, until

Ask = Callable[..., bytes]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def go_on() -> None:
    """Nobody interrupts."""


@pytest.fixture
def src(tmp_path: Path) -> Path:
    src = tmp_path / "src"
    (src / "dir/sub").mkdir(parents=True)
    (tmp_path / "dst").mkdir()
    (src / "a.txt").write_text("hello")
    (src / "rel").symlink_to("a.txt")
    (src / "abs").symlink_to(src / "a.txt")
    (src / "ldir").symlink_to("dir")
    (src / "broken").symlink_to("nowhere")
    (src / "loop").symlink_to("loop")
    os.mkfifo(src / "fifo")
    (src / "dir/one").write_text("0123456789")
    (src / "dir/sub/two").write_text("two")
    (src / "secret.key").write_text("secret")
    (src / "new\nline").write_text("n")
    for age, (name, size) in enumerate([("log", 3), ("log.1", 10), ("log.2", 11)]):
        (src / name).write_bytes(bytes(range(48, 48 + size)))
        os.utime(src / name, ns=(10**18 - age, 10**18 - age))
    return src


@pytest.fixture
def dst(src: Path) -> Path:
    return src.parent / "dst"


def below(root: Path, path: Path | str) -> Path:
    return root / str(path).lstrip("/")


def cp(
    source: Path | str | bytes, root: Path | str | bytes, *forbidden: str, owner: tuple[int, int] | None = None
) -> list[str]:
    rules = Rules([Pattern(os.fsencode(pattern)) for pattern in forbidden], owner)
    return readable(copy(os.fsencode(source), os.fsencode(root), rules, go_on))


def globcp(pattern: Path | str, root: Path, limit: object = 0, *forbidden: str) -> list[str]:
    rules = Rules([Pattern(os.fsencode(pattern)) for pattern in forbidden])
    return readable(copy_matching(os.fsencode(pattern), os.fsencode(root), str(limit).encode(), rules, go_on))


def readable(results: list[tuple[str, str, bytes]]) -> list[str]:
    return [f"{outcome} {detail} {os.fsdecode(path)}" for outcome, detail, path in results]


# What the wire carries.


def wire(*results: tuple[str, Path]) -> bytes:
    return b"%d\n" % len(results) + b"".join(
        b"%b\n%d\n%b\n" % (head.encode(), len(os.fsencode(path)), os.fsencode(path)) for head, path in results
    )


def test_golden_cp(ask: Ask, src: Path, dst: Path) -> None:
    def asked(name: str, root: Path = dst, **options: tuple[str, ...]) -> bytes:
        return ask(b"cp", os.fsencode(src / name), os.fsencode(root), **options)

    assert asked("a.txt") == wire(("FILE 5", src / "a.txt"))
    assert below(dst, src / "a.txt").read_text() == "hello"
    assert asked("a.txt") == wire(("SKIP exists", src / "a.txt"))
    assert asked("rel") == wire(("LINK 0", src / "rel"), ("SKIP exists", src / "a.txt"))
    assert asked("ldir") == wire(("LINK 0", src / "ldir"), ("SKIP linkdir", src / "dir"))
    assert asked("broken") == wire(("LINK 0", src / "broken"), ("SKIP missing", src / "nowhere"))
    assert asked("loop") == wire(("LINK 0", src / "loop"))
    assert asked("fifo") == wire(("SKIP special", src / "fifo"))
    assert asked("zzz") == wire(("FAIL ENOENT", src / "zzz"))
    none = src.parent / "none"
    assert asked("a.txt", none) == wire(("FAIL ENOENT", none))
    assert ask(b"cp", b"src/a.txt", os.fsencode(dst)) == b"1\nFAIL EINVAL\n9\nsrc/a.txt\n"
    assert asked("dir") == wire(
        ("DIR 0", src / "dir"),
        ("FILE 10", src / "dir/one"),
        ("DIR 0", src / "dir/sub"),
        ("FILE 3", src / "dir/sub/two"),
    )
    assert asked("secret.key", options=("--forbid", "*/secret*")) == wire(("SKIP forbidden", src / "secret.key"))


def test_golden_cp_of_a_link_and_its_target(ask: Ask, src: Path, dst: Path) -> None:
    returns = ask(b"cp", os.fsencode(src / "rel"), os.fsencode(dst))
    assert returns == wire(("LINK 0", src / "rel"), ("FILE 5", src / "a.txt"))
    assert os.readlink(below(dst, src / "rel")) == "a.txt"


def test_golden_globcp(ask: Ask, src: Path, tmp_path: Path) -> None:
    def asked(pattern: str, limit: int, root: str) -> bytes:
        (tmp_path / root).mkdir()
        return ask(b"globcp", os.fsencode(src / pattern), os.fsencode(tmp_path / root), b"%d" % limit)

    log, log1, log2 = src / "log", src / "log.1", src / "log.2"
    assert asked("new*", 0, "d1") == wire(("FILE 1", src / "new\nline"))
    assert asked("none*", 0, "d2") == b"0\n"
    assert asked("log*", 0, "d3") == wire(("FILE 3", log), ("FILE 10", log1), ("FILE 11", log2))
    assert asked("log*", 8, "d4") == wire(("FILE 3", log), ("TAIL 5", log1), ("SKIP limit", log2))
    assert below(tmp_path / "d4", f"{log1}.tailed").read_bytes() == log1.read_bytes()[-5:]
    assert not below(tmp_path / "d4", log1).exists()
    assert asked("log*", 2, "d5") == wire(("TAIL 2", log), ("SKIP limit", log1), ("SKIP limit", log2))


# Rule 1: the root and the limit.


def test_rule_1_root_and_limit(src: Path, dst: Path) -> None:
    a = src / "a.txt"
    assert cp(a, a) == [f"FAIL ENOTDIR {a}"]
    assert cp(a, b"") == ["FAIL ENOENT "]
    assert cp(a, b"/tmp\0") == ["FAIL EINVAL /tmp\0"]
    for limit in ("", "x", "-1", "1.5", " 1", "1" * 20, "\u0661"):
        assert globcp(a, dst, limit) == [f"FAIL EINVAL {limit}"]
    assert globcp(a, src.parent / "none", "x") == [f"FAIL ENOENT {src.parent / 'none'}"]
    assert os.listdir(dst) == []


def test_paths_are_normalised_and_handled_once(src: Path, dst: Path) -> None:
    assert cp(f"//{src}/./dir/../a.txt/", dst) == [f"FILE 5 {src}/a.txt"]
    assert cp(f"{src}/a\0", dst) == [f"FAIL EINVAL {src}/a\0"]
    assert cp("", dst) == ["FAIL EINVAL "]
    # Both spellings of one directory match, and each path is handled once.
    assert globcp(f"{src}/di[r]/../di[r]/o*", dst) == [f"FILE 10 {src}/dir/one"]
    assert globcp(f"{src}/[ar]*", dst) == [
        f"SKIP exists {src}/a.txt",
        f"LINK 0 {src}/abs",
        f"LINK 0 {src}/rel",
    ]


def test_dots_cannot_escape(src: Path, dst: Path) -> None:
    assert cp(f"/../../..{src}/a.txt", dst) == [f"FILE 5 {src}/a.txt"]
    assert below(dst, src / "a.txt").exists()


# Rule 2: what is forbidden.


@pytest.mark.parametrize("pattern", ["{src}/secret.key", "{src}/secret*", "*/secret.???", "{src}", "/*/src", "*"])
def test_rule_2_forbidden(src: Path, dst: Path, pattern: str) -> None:
    name = f"{src}/secret.key"
    assert cp(name, dst, "/elsewhere", pattern.format(src=src)) == [f"SKIP forbidden {name}"]
    assert os.listdir(dst) == []


def test_rule_2_holds_within_directories_and_behind_links(src: Path, dst: Path) -> None:
    (src / "pointer").symlink_to("secret.key")
    assert cp(src / "dir", dst, "*/sub") == [
        f"DIR 0 {src}/dir",
        f"FILE 10 {src}/dir/one",
        f"SKIP forbidden {src}/dir/sub",
    ]
    assert cp(src / "pointer", dst, "*.key") == [f"LINK 0 {src}/pointer", f"SKIP forbidden {src}/secret.key"]


def test_rule_2_a_link_above_is_no_way_around(src: Path, dst: Path) -> None:
    (src / "innocent").symlink_to(src)
    assert cp(src / "innocent/secret.key", dst, f"{src}/secret.key") == [f"SKIP forbidden {src}/innocent/secret.key"]
    assert cp(src / "innocent/dir", dst, f"{src}/dir/sub") == [
        f"DIR 0 {src}/innocent/dir",
        f"FILE 10 {src}/innocent/dir/one",
        f"SKIP forbidden {src}/innocent/dir/sub",
    ]
    assert cp(src / "ldir/one", dst, f"{src}/dir") == [f"SKIP forbidden {src}/ldir/one"]


# Rule 3: what is not there.


def test_rule_3_missing(src: Path, dst: Path) -> None:
    assert cp(src / "a.txt/below", dst) == [f"FAIL ENOTDIR {src}/a.txt/below"]
    assert cp(src / "none/below", dst) == [f"FAIL ENOENT {src}/none/below"]
    assert cp(src / "loop/below", dst) == [f"FAIL ELOOP {src}/loop/below"]
    assert cp(src / ("x" * 300), dst) == [f"FAIL ENAMETOOLONG {src / ('x' * 300)}"]
    assert os.listdir(dst) == []
    (src / "far").symlink_to("none/deep")
    (src / "odd").symlink_to("a.txt/deep")
    (src / "long").symlink_to("y" * 300)
    assert cp(src / "far", dst) == [f"LINK 0 {src}/far", f"SKIP missing {src}/none/deep"]
    assert cp(src / "odd", dst) == [f"LINK 0 {src}/odd", f"SKIP missing {src}/a.txt/deep"]
    assert cp(src / "long", dst) == [f"LINK 0 {src}/long", f"FAIL ENAMETOOLONG {src / ('y' * 300)}"]


# Rule 4: links.


def test_rule_4_absolute_targets_become_relative(src: Path, dst: Path) -> None:
    assert cp(src / "abs", dst) == [f"LINK 0 {src}/abs", f"FILE 5 {src}/a.txt"]
    assert os.readlink(below(dst, src / "abs")) == "a.txt"
    assert below(dst, src / "abs").read_text() == "hello"
    (src / "dir/up").symlink_to(src / "log")
    cp(src / "dir/up", dst)
    assert os.readlink(below(dst, src / "dir/up")) == "../log"


def test_rule_4_chains_loops_and_existing_links(src: Path, dst: Path) -> None:
    (src / "l1").symlink_to("l2")
    (src / "l2").symlink_to("l3")
    (src / "l3").symlink_to("l1")
    (src / "long").symlink_to("rel")
    assert cp(src / "l1", dst) == [f"LINK 0 {src}/{name}" for name in ("l1", "l2", "l3")]
    assert cp(src / "long", dst) == [f"LINK 0 {src}/long", f"LINK 0 {src}/rel", f"FILE 5 {src}/a.txt"]
    os.unlink(below(dst, src / "a.txt"))
    assert cp(src / "long", dst) == [f"SKIP exists {src}/long", f"SKIP exists {src}/rel", f"FILE 5 {src}/a.txt"]


def test_rule_4_a_target_is_not_copied_twice(src: Path, dst: Path) -> None:
    assert globcp(src / "[ar][.beo]*", dst) == [
        f"FILE 5 {src}/a.txt",
        f"LINK 0 {src}/abs",
        f"LINK 0 {src}/rel",
    ]


# Rule 5: directories.


def test_rule_5_modes_and_times(src: Path, dst: Path) -> None:
    (src / "dir/empty").mkdir()
    os.chmod(src / "dir/sub", 0o5055)
    for name, when in (("dir/empty", 1), ("dir/sub", 10**18 + 123456789), ("dir", 5)):
        os.utime(src / name, ns=(when, when))
    cp(src / "dir", dst)
    sub, whole, empty = (below(dst, src / name).stat() for name in ("dir/sub", "dir", "dir/empty"))
    assert stat.S_IMODE(sub.st_mode) == 0o755
    assert (sub.st_mtime_ns, whole.st_mtime_ns, empty.st_mtime_ns) == (10**18 + 123456789, 5, 1)
    assert stat.S_IMODE(below(dst, src).stat().st_mode) == 0o700  # a parent


def test_rule_5_an_existing_directory_has_no_result(src: Path, dst: Path) -> None:
    cp(src / "dir/sub", dst)
    mode = below(dst, src / "dir").stat().st_mode
    os.chmod(src / "dir", 0o711)
    assert cp(src / "dir", dst) == [f"FILE 10 {src}/dir/one", f"SKIP exists {src}/dir/sub/two"]
    assert below(dst, src / "dir").stat().st_mode == mode


def test_rule_5_the_root_is_not_copied_into_itself(src: Path, dst: Path) -> None:
    assert cp(dst, dst) == [f"SKIP self {dst}"]
    results = cp(src.parent, dst)
    assert f"SKIP self {dst}" in results
    assert f"FILE 5 {src}/a.txt" in results
    assert sum("a.txt" in line for line in results) == 1


def test_rule_5_a_source_below_the_root_that_takes_copies(tmp_path: Path) -> None:
    again = below(tmp_path, tmp_path)  # where copies of tmp_path go
    again.mkdir(parents=True)
    (again / "file").write_text("x")
    before = sorted(again.iterdir())
    assert cp(again, tmp_path) == [f"SKIP self {again}"]
    assert [path for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [again / "file"]
    assert set(before) <= set(again.iterdir())


def test_rule_5_everything(tmp_path: Path) -> None:
    """`/` itself is a directory that exists already: the root."""
    rules = Rules([Pattern(b"/[!.]*")])  # all the rest would take a while
    results = readable(copy(b"/", os.fsencode(tmp_path), rules, go_on))
    assert "SKIP forbidden /proc" in results
    assert not any(line.startswith("DIR 0 /\n") for line in results)


def test_rule_5_very_deep_trees(src: Path, dst: Path) -> None:
    here = os.open(src / "dir", os.O_RDONLY)
    for _ in range(1200):  # beyond the recursion limit, and beyond what a path may have
        os.mkdir("deep", dir_fd=here)
        below_ = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below_
    os.close(here)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, limits[1]), limits[1]))
    try:
        results = cp(src / "dir", dst)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert sum(line.startswith("DIR 0") for line in results) == 1202
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    (src.parent / "dst2").mkdir()
    try:
        results = cp(src / "dir", src.parent / "dst2")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "FAIL EMFILE" in "\n".join(results)
    assert f"FILE 3 {src}/dir/sub/two" in results  # the rest went on
    subprocess.run(["rm", "-rf", src.parent], check=True)  # shutil gives up on such depths


# Rule 6: what is no file.


def test_rule_6_special_files_are_never_opened(src: Path, dst: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(src / "sock"))
        assert cp(src / "sock", dst) == [f"SKIP special {src}/sock"]
    assert cp(src / "fifo", dst) == [f"SKIP special {src}/fifo"]
    assert cp("/dev/null", dst) == ["SKIP special /dev/null"]
    (src / "tofifo").symlink_to("fifo")
    assert cp(src / "tofifo", dst) == [f"LINK 0 {src}/tofifo", f"SKIP special {src}/fifo"]


# Rule 7: regular files.


def test_rule_7_content_mode_and_times(src: Path, dst: Path) -> None:
    big = src / "big"
    big.write_bytes(os.urandom(1_000_003))
    os.chmod(big, 0o7455)
    os.utime(big, ns=(1_700_000_000_123_456_789, 1_600_000_000_987_654_321))
    umask = os.umask(0o777)
    try:
        assert cp(big, dst) == [f"FILE 1000003 {big}"]
        assert os.umask(0o777) == 0o777
    finally:
        os.umask(umask)
    made = below(dst, big)
    status = made.stat()
    assert made.read_bytes() == big.read_bytes()
    assert stat.S_IMODE(status.st_mode) == 0o655
    assert (status.st_atime_ns, status.st_mtime_ns) == (1_700_000_000_123_456_789, 1_600_000_000_987_654_321)


def test_rule_7_reads_to_the_end_and_not_to_the_size(dst: Path) -> None:
    (line,) = cp("/proc/version", dst)
    version = Path("/proc/version").read_bytes()
    assert line == f"FILE {len(version)} /proc/version"
    assert below(dst, "/proc/version").read_bytes() == version


def test_rule_7_what_is_there_is_never_opened(src: Path, dst: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    below(dst, src).mkdir(parents=True)
    below(dst, src / "a.txt").symlink_to(outside)
    below(dst, src / "log").mkdir()
    os.mkfifo(below(dst, src / "log.1"))
    assert globcp(src / "[al]*[t1g]", dst) == [f"SKIP exists {src}/{name}" for name in ("a.txt", "log", "log.1")]
    assert not outside.exists()


@AS_ROOT
def test_rule_7_owner(src: Path, dst: Path) -> None:
    (src / "dir/link").symlink_to("one")
    cp(src / "dir", dst, owner=(4321, 8765))
    made = [below(dst, "/" + str(src).split("/")[1]), *(path for path in dst.rglob("*"))]
    assert len(made) > 5
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in made} == {(4321, 8765)}


def test_rule_7_without_owner_ids_stay(src: Path, dst: Path) -> None:
    if os.geteuid() == 0:
        os.chown(src / "a.txt", 4321, 4321)
    cp(src / "a.txt", dst)
    assert below(dst, src / "a.txt").stat().st_uid == os.geteuid()


# Rule 8: parents.


@pytest.mark.parametrize("kind", ["link", "file", "fifo"])
def test_rule_8_a_component_that_is_no_directory(src: Path, dst: Path, tmp_path: Path, kind: str) -> None:
    component = dst / str(src).split("/")[1]
    outside = tmp_path / "outside"
    outside.mkdir()
    if kind == "link":
        component.symlink_to(outside)
    elif kind == "file":
        component.write_text("")
    else:
        os.mkfifo(component)
    for name in ("a.txt", "dir", "rel"):
        assert cp(src / name, dst)[0] == f"FAIL ENOTDIR {src}/{name}"
    assert os.listdir(outside) == []


def test_rule_8_a_directory_whose_copy_is_a_link(src: Path, dst: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    below(dst, src).mkdir(parents=True)
    below(dst, src / "dir").symlink_to(outside)
    assert cp(src / "dir", dst) == [f"FAIL ENOTDIR {src}/dir"]
    assert os.listdir(outside) == []


# Rule 9: the limit.


def test_rule_9_compressed_files_are_not_tailed(src: Path, dst: Path) -> None:
    for suffix in (".gz", ".bz2", ".xz", ".zip", ".zst"):
        (src / f"z{suffix}").write_text("0123456789")
    assert globcp(src / "z*", dst, 5)[0].startswith("SKIP limit ")
    assert {line.split()[1] for line in globcp(src / "z*", dst, 5)} == {"limit"}


def test_rule_9_nothing_left(src: Path, dst: Path) -> None:
    (src / "log.0").write_text("")
    os.utime(src / "log.0", ns=(10**18 - 1, 10**18 - 1))  # between log and log.1, by its name
    assert globcp(src / "log*", dst, 3) == [
        f"FILE 3 {src}/log",
        f"FILE 0 {src}/log.0",
        f"SKIP limit {src}/log.1",
        f"SKIP limit {src}/log.2",
    ]


def test_rule_9_exactly_enough(src: Path, dst: Path) -> None:
    assert [line.split()[0] for line in globcp(src / "log*", dst, 24)] == ["FILE", "FILE", "FILE"]


def test_rule_9_counts_files_in_directories(src: Path, dst: Path) -> None:
    (src / "dir/zlink").symlink_to("one")
    assert globcp(src / "dir", dst, 12) == [
        f"DIR 0 {src}/dir",
        f"FILE 10 {src}/dir/one",
        f"DIR 0 {src}/dir/sub",
        f"TAIL 2 {src}/dir/sub/two",
        f"LINK 0 {src}/dir/zlink",
    ]


def test_rule_9_files_that_say_they_are_empty(dst: Path) -> None:
    content = Path("/proc/version").read_bytes()
    assert globcp("/proc/versio[n]", dst, 7) == ["TAIL 7 /proc/version"]
    assert below(dst, "/proc/version.tailed").read_bytes() == content[-7:]
    assert not below(dst, "/proc/version").exists()
    assert globcp("/proc/[cv][me][dr]*[en]", dst, 1)[1] == "SKIP limit /proc/version"


def test_rule_9_ties_are_broken_by_name(src: Path, dst: Path) -> None:
    for name in ("log", "log.1", "log.2"):
        os.utime(src / name, ns=(5, 5))
    assert [line.split()[-1][-5:] for line in globcp(src / "log*", dst, 100)] == ["c/log", "log.1", "log.2"]


def test_rule_9_existing_files_cost_nothing(src: Path, dst: Path) -> None:
    below(dst, src).mkdir(parents=True)
    below(dst, src / "log").write_text("other")
    assert globcp(src / "log*", dst, 10) == [
        f"SKIP exists {src}/log",
        f"FILE 10 {src}/log.1",
        f"SKIP limit {src}/log.2",
    ]


# Rule 10.


def test_rule_10_no_match(dst: Path) -> None:
    assert globcp("/none*", dst) == []
    assert globcp("/none\0*", dst, 5) == []


# Permissions, errors, interruptions.


def as_nobody(check: Callable[[], list[bool]]) -> None:
    """Run checks in a child that is nobody."""
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            status = 0 if all(check()) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@AS_ROOT
def test_unreadable_files_and_directories(public: Path) -> None:
    src, dst = public / "src", public / "dst"
    (src / "dir").mkdir(parents=True)
    (src / "file").write_text("x")
    dst.mkdir()
    os.chmod(src / "file", 0)
    os.chmod(src / "dir", 0)
    os.chmod(dst, 0o777)
    as_nobody(
        lambda: [
            cp(src / "file", dst) == [f"FAIL EACCES {src}/file"],
            cp(src / "dir", dst) == [f"FAIL EACCES {src}/dir"],
            cp(src / "dir/x", dst) == [f"FAIL EACCES {src}/dir/x"],
        ]
    )
    assert os.listdir(dst) == []


@AS_ROOT
def test_an_owner_that_may_not_be_given_leaves_nothing(public: Path) -> None:
    src, dst = public / "src", public / "dst"
    (src / "dir").mkdir(parents=True)
    (src / "file").write_text("x")
    (src / "link").symlink_to("file")
    below(dst, src / "dir").parent.mkdir(parents=True)
    for path in (dst, *dst.rglob("*")):
        os.chmod(path, 0o777)
    as_nobody(
        lambda: [
            cp(src / "file", dst, owner=(0, 0)) == [f"FAIL EPERM {src}/file"],
            cp(src / "link", dst, owner=(0, 0)) == [f"FAIL EPERM {src}/link"],
            cp(src / "dir", dst, owner=(0, 0)) == [f"FAIL EPERM {src}/dir"],
        ]
    )
    assert os.listdir(below(dst, src)) == []


class Stop(CtldError):
    pass


def test_interrupts_anywhere_leave_nothing_partial(src: Path, tmp_path: Path) -> None:
    (src / "big").write_bytes(bytes(3_000_000))
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    root = tmp_path / "all"
    root.mkdir()
    whole = copy(os.fsencode(src), os.fsencode(root), Rules(), count)
    sizes = {path.relative_to(root): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    assert calls > len(whole) + 10
    for last in range(calls):
        left = last

        def stop() -> None:
            nonlocal left
            if not left:
                raise Stop
            left -= 1

        root = tmp_path / f"r{last}"
        root.mkdir()
        with pytest.raises(Stop):
            copy(os.fsencode(src), os.fsencode(root), Rules(), stop)
        found = {path.relative_to(root): path.stat().st_size for path in root.rglob("*") if path.is_file()}
        assert found.items() <= sizes.items()


def test_sigint_during_a_big_file(drive: Callable[..., Driver], src: Path, dst: Path) -> None:
    with open(src / "big", "wb") as big:
        big.truncate(1 << 40)  # would take for ever, and take no room
    driver = drive()
    driver.send(b"cp\n%b\n%b\n" % (os.fsencode(src / "big"), os.fsencode(dst)))
    until(lambda: below(dst, src / "big").exists() and below(dst, src / "big").stat().st_size > 0)
    driver.kill(signal.SIGINT)
    driver.wait_out(b"#1#\n")
    assert not below(dst, src / "big").exists()
    assert driver.end() == (b"#0#\n#1#\n", b"INTERRUPTED\n", 0)


def test_a_full_file_system_leaves_nothing(src: Path, dst: Path) -> None:
    """Stands for ENOSPC: the same place fails, by a limit that needs no file system of its own."""
    (src / "big").write_bytes(bytes(1_000_000))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        assert cp(src / "big", dst) == [f"FAIL EFBIG {src}/big"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert not below(dst, src / "big").exists()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    point = tmp_path / "small"
    point.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", point]).returncode:
        pytest.skip("needs the right to mount a file system")
    yield point
    subprocess.run(["umount", point], check=True)


def test_no_space_left_and_another_file_system(src: Path, small: Path) -> None:
    (src / "big").write_bytes(bytes(1_000_000))
    assert cp(src / "big", small) == [f"FAIL ENOSPC {src}/big"]
    assert not below(small, src / "big").exists()
    assert cp(src / "a.txt", small) == [f"FILE 5 {src}/a.txt"]
    # And a source on another file system, with the root below it.
    (small / "in").mkdir()
    assert cp(small / "in", src.parent / "dst") == [f"DIR 0 {small}/in"]


def test_errors_of_the_root_while_copying(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.utime

    def utime(path: int, **kwargs: object) -> None:
        if stat.S_ISDIR(os.fstat(path).st_mode):
            raise PermissionError(errno.EPERM, "no times here")
        real(path, **kwargs)

    monkeypatch.setattr(os, "utime", utime)
    assert cp(src / "dir", dst)[0] == f"DIR 0 {src}/dir"  # a file system without modes and times


def test_names_that_are_not_text(src: Path, dst: Path) -> None:
    name = os.fsdecode(b"\xff\xfe \n")
    (src / name).write_text("x")
    (src / "dir" / name).write_text("y")
    assert cp(src / name, dst) == [f"FILE 1 {src / name}"]
    assert f"FILE 1 {src / 'dir' / name}" in cp(src / "dir", dst)
    assert below(dst, src / "dir" / name).read_text() == "y"


def test_proc_and_sys(dst: Path) -> None:
    results = cp("/proc/self", dst) + cp("/proc/thread-self/fdinfo", dst) + cp("/sys/kernel/mm", dst)
    assert "LINK 0 /proc/self" in results
    assert {line.split()[0] for line in results} <= {"LINK", "SKIP", "DIR", "FILE", "FAIL"}
    assert cp("/proc/kmsg", dst)[0].split()[0] in {"FAIL", "SKIP"}  # blocks whoever reads it without O_NONBLOCK


# Races: somebody swaps while we walk.

SWAPPER = """
import ctypes, os, sys
here, there = map(os.fsencode, sys.argv[1:])
exchange = ctypes.CDLL(None, use_errno=True).renameat2
if exchange(-100, here, -100, there, 2):
    sys.exit(os.strerror(ctypes.get_errno()))
print("go", flush=True)
while True:
    exchange(-100, here, -100, there, 2)
"""


@pytest.fixture
def swapping() -> Iterator[Callable[[Path, Path], Callable[[], None]]]:
    """Exchange two names for ever, each time in one step."""
    running: list[subprocess.Popen[bytes]] = []

    def swap(here: Path, there: Path) -> Callable[[], None]:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", SWAPPER, here, there], stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout.readline() == b"go\n"
        return process.kill

    yield swap
    for process in running:
        process.kill()
        process.communicate()


Swapping = Callable[[Path, Path], Callable[[], None]]


def rounds(seen: set[str], wanted: set[str]) -> Iterator[int]:
    """Count to 500, and on until everything that the race can lead to was seen."""
    for turn in range(50_000):
        if turn > 500 and wanted <= seen:
            return
        yield turn
    pytest.fail(f"seen only {seen}")


def heads(results: list[str]) -> set[str]:
    return {" ".join(line.split()[:2]) for line in results}


def test_a_destination_swapped_for_a_link_leads_nowhere(
    src: Path, dst: Path, tmp_path: Path, swapping: Swapping
) -> None:
    outside, seen = tmp_path / "outside", set[str]()
    (outside / "sub").mkdir(parents=True)
    real = below(dst, src / "dir")
    real.mkdir(parents=True)
    (tmp_path / "other").symlink_to(outside)
    held = os.open(real, os.O_RDONLY)
    swapping(real, tmp_path / "other")
    for _ in rounds(seen, {"FAIL ENOTDIR", "FILE 10", "FILE 3"}):
        seen |= heads(cp(src / "dir", dst)) | heads(cp(src / "dir/one", dst))
        for name in ("one", "sub/two"):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=held)
        assert sorted(outside.rglob("*")) == [outside / "sub"]
        assert os.listdir(outside / "sub") == []
    os.close(held)


def test_a_source_swapped_for_a_link_is_not_followed(src: Path, tmp_path: Path, swapping: Swapping) -> None:
    forbidden, seen = tmp_path / "forbidden", set[str]()
    forbidden.mkdir()
    (forbidden / "one").write_text("never")
    (tmp_path / "other").symlink_to(forbidden)
    swapping(src / "dir", tmp_path / "other")
    for turn in rounds(seen, {"FILE 10", "LINK 0", "SKIP forbidden"}):
        root = tmp_path / f"root{turn}"
        root.mkdir()
        for source in (src / "dir/one", src / "dir"):
            seen |= heads(cp(source, root, str(forbidden)))
        for copied in root.rglob("one"):
            assert copied.read_text() == "0123456789"
        shutil.rmtree(root)


def test_a_file_swapped_for_a_fifo_is_not_opened(src: Path, dst: Path, tmp_path: Path, swapping: Swapping) -> None:
    fifo, seen, opened = tmp_path / "pipe", set[str](), threading.Event()
    os.mkfifo(fifo)
    held = os.open(fifo, os.O_PATH)

    def wait_for_a_reader() -> None:
        os.close(os.open(f"/proc/self/fd/{held}", os.O_WRONLY))  # returns when anybody opens it for reading
        opened.set()

    watcher = threading.Thread(target=wait_for_a_reader)
    watcher.start()
    swapping(src / "a.txt", fifo)
    for _ in rounds(seen, {"FILE 5", "SKIP special"}):
        seen |= heads(cp(src / "a.txt", dst))
        below(dst, src / "a.txt").unlink(missing_ok=True)
    assert not opened.is_set()
    os.close(os.open(f"/proc/self/fd/{held}", os.O_RDONLY))  # the watch works
    watcher.join(20)
    assert opened.is_set()
    os.close(held)


def test_entries_that_vanish_are_reported(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish() -> None:
        (src / "dir/one").unlink(missing_ok=True)

    rules = Rules()
    steps = 0

    def check() -> None:
        nonlocal steps
        steps += 1
        if steps == 4:  # the directory has been listed
            vanish()

    assert readable(copy(os.fsencode(src / "dir"), os.fsencode(dst), rules, check))[1] == f"FAIL ENOENT {src}/dir/one"


def test_a_log_that_grows_while_its_tail_is_taken(src: Path, dst: Path) -> None:
    log = src / "log.1"

    def grow() -> None:
        with open(log, "ab") as end:
            end.write(b"more")

    results = copy_matching(os.fsencode(log), os.fsencode(dst), b"5", Rules(), grow)
    assert readable(results) == [f"TAIL 5 {log}"]
    assert below(dst, f"{log}.tailed").stat().st_size == 5

import os
import stat

import pytest

from ctld.jobs.output import log_path, open_log, rotate


@pytest.mark.parametrize(
    ("name", "path"),
    [("out", "/work/3_out"), ("logs/out", "/work/logs/3_out"), ("/var/log/web.log", "/var/log/3_web.log")],
)
def test_the_number_goes_before_the_name_of_the_file(name, path):
    assert log_path("/work", name, 3) == path


def test_a_log_is_appended_to_and_made_with_the_jobs_mask(tmp_path):
    path = tmp_path / "log"
    for line in (b"one\n", b"two\n"):
        fd = open_log(str(path), 0o027)
        assert os.get_blocking(fd)
        os.write(fd, line)
        os.close(fd)
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_no_link_and_no_fifo_is_followed(tmp_path):
    (tmp_path / "victim").write_text("safe")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo"):
        with pytest.raises(OSError, match=name):
            open_log(str(tmp_path / name), 0)


def content(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_rotation_shifts_and_drops_the_oldest_and_the_writer_goes_on(tmp_path):
    path = str(tmp_path / "log")
    writer = open_log(path, 0o027)
    for generation in range(5):
        os.write(writer, str(generation).encode())
        rotate(path, 3)
    os.write(writer, b"last")
    os.close(writer)
    assert content(tmp_path) == {"log": "last", "log.1": "4", "log.2": "3", "log.3": "2"}
    assert stat.S_IMODE((tmp_path / "log.1").stat().st_mode) == 0o640


def test_rotation_without_backups_truncates(tmp_path):
    (tmp_path / "log").write_text("much")
    rotate(str(tmp_path / "log"), 0)
    assert content(tmp_path) == {"log": ""}


def test_a_rotation_that_was_cut_short_is_no_obstacle(tmp_path):
    (tmp_path / "log").write_text("new")
    (tmp_path / "log.1.new").write_text("half")
    rotate(str(tmp_path / "log"), 1)
    assert content(tmp_path) == {"log": "", "log.1": "new"}


def test_a_link_planted_for_the_copy_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("safe")
    (tmp_path / "log").write_text("new")
    (tmp_path / "log.1.new").symlink_to(tmp_path / "victim")
    (tmp_path / "log.1").symlink_to(tmp_path / "victim")
    rotate(str(tmp_path / "log"), 1)
    assert (tmp_path / "victim").read_text() == "safe"
    assert (tmp_path / "log.1").read_text() == "new"


def test_what_cannot_be_copied_is_not_truncated(tmp_path):
    (tmp_path / "log").write_text("precious")
    (tmp_path / "log.1").mkdir()
    with pytest.raises(OSError, match="directory"):
        rotate(str(tmp_path / "log"), 1)
    assert (tmp_path / "log").read_text() == "precious"

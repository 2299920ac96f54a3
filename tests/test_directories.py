import os
from pathlib import Path

import pytest

import ctld
from ctld.directories import claim_state_directory, make_directory
from ctld.errors import ConfigError


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_it_is_made_for_the_daemon_alone(tmp_path, mask):
    before = os.umask(mask)
    try:
        claim_state_directory(str(tmp_path / "state"))
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700 & ~mask


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_those_above_it_are_not_left_to_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        make_directory(str(tmp_path / "a/b/c"))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a", tmp_path / "a/b", tmp_path / "a/b/c")}
    assert modes == {"a": 0o755 & ~mask, "b": 0o755 & ~mask, "c": 0o700}


def test_what_is_no_directory_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/a"):
        with pytest.raises(OSError, match="file"):
            make_directory(str(path))
    make_directory(str(tmp_path))


def test_one_that_is_there_stays_as_it_is(tmp_path):
    for mode in (0o700, 0o755, 0o770):
        tmp_path.chmod(mode)
        claim_state_directory(str(tmp_path))
        assert tmp_path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_one_in_which_anybody_may_write_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(ConfigError, match="anybody may write there"):
        claim_state_directory(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_one_of_another_user_or_group_is_refused(tmp_path):
    os.chown(tmp_path, 54321, -1)
    with pytest.raises(ConfigError, match="belongs to user 54321"):
        claim_state_directory(str(tmp_path))
    os.chown(tmp_path, 0, 54321)
    claim_state_directory(str(tmp_path))
    tmp_path.chmod(0o770)
    with pytest.raises(ConfigError, match="group 54321"):
        claim_state_directory(str(tmp_path))


@pytest.mark.parametrize("name", ["file/state", "a\0b"])
def test_one_that_cannot_be_made_is_left_to_those_who_need_it(tmp_path, name):
    (tmp_path / "file").touch()
    claim_state_directory(f"{tmp_path}/{name}")
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("file", b"")]


async def test_a_server_does_not_start_with_one_that_others_may_write(tmp_path: Path):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o777)
    server: ctld.Server = ctld.Server(state_dir=state, listen=[f"unix:{tmp_path}/s"])
    with pytest.raises(ConfigError, match="anybody may write there"):
        await server.start()
    assert not (tmp_path / "s").exists()
    state.chmod(0o755)
    async with server:
        assert (tmp_path / "s").exists()

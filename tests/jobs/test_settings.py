"""The `[jobs]` table of the daemon's file."""

import pytest

from ctld.errors import ConfigError
from ctld.jobs.settings import JobSettings
from ctld.settings import load_settings


def test_it_is_read_and_off_by_default(tmp_path):
    path = tmp_path / "ctld.toml"
    path.write_text("")
    assert load_settings(path).jobs == JobSettings(directory="", leave_running=False)
    path.write_text("[jobs]\ndirectory = '/etc/ctld/jobs'\nleave_running = true\n")
    assert load_settings(path).jobs == JobSettings(directory="/etc/ctld/jobs", leave_running=True)


def test_a_misspelt_key_is_told(tmp_path):
    path = tmp_path / "ctld.toml"
    path.write_text("[jobs]\ndirectry = '/a'\n")
    with pytest.raises(ConfigError, match="did you mean directory"):
        load_settings(path)

"""Settings as the original's file has them (specification A3, A6, A7)."""

import pytest

from ctld.dialects.guest_agent.settings import MonitorSettings, read_settings, seconds_of


@pytest.mark.parametrize("text", ["", "[Core]\nx = 1\n", "garbage", "[Unstable]\n", "[Unstable\n"])
def test_by_default_it_is_off(text):
    assert read_settings(text) == MonitorSettings(enabled=False)


def test_a_key_without_a_value_goes_on_for_no_line():
    text = "[Unstable]\ncommand_monitor_enabled = true\nflag\n  continued\n"
    assert read_settings(text) == MonitorSettings(enabled=False)


def test_every_key():
    text = """[Unstable]
command_monitor_enabled = true
command_pipe_mode = 0700
command_pipe_path = /run/mine
command_pipe_group = adm
command_request_timeout = 1m30s
"""
    assert read_settings(text) == MonitorSettings(mode=0o700, directory="/run/mine", group="adm", timeout=90.0)


@pytest.mark.parametrize(("text", "mode"), [("770", 0o770), ("0660", 0o660), ("0o770", 0o770), ("xyz", 0o770)])
def test_modes(text, mode):
    assert read_settings(f"[Unstable]\ncommand_pipe_mode = {text}\n").mode == mode


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0), ("1.5h", 5400.0), ("250ms", 0.25), (".5s", 0.5), ("1m1s", 61.0), ("0", 0.0), ("0s", 0.0),
        ("-1s", -1.0), ("", 10.0), ("10", 10.0), ("s", 10.0), ("10 s", 10.0), ("٣s", 10.0),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert seconds_of(text) == seconds

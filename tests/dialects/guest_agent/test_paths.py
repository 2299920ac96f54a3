"""Names of pipes (specification A6; A12 rows 1 and 2)."""

from ctld.dialects.guest_agent.paths import KnownListener, pipe_name, windows_pipe_name


def test_a12_1_default_paths_and_a_directory_of_ones_own():
    assert pipe_name(KnownListener.GUEST_AGENT) == "/run/google-guest-agent/cmd-monitors/guestagent"
    assert pipe_name(KnownListener.CORE_PLUGIN) == "/run/google-guest-agent/cmd-monitors/coreplugin"
    assert pipe_name(KnownListener.GUEST_AGENT, directory="/run/custom") == "/run/custom/guestagent"
    assert pipe_name(7, "/run/custom/") == "/run/custom/7"


def test_a12_2_on_windows():
    assert windows_pipe_name(KnownListener.CORE_PLUGIN) == r"\\.\pipe\cmd_monitor_coreplugin"
    assert windows_pipe_name(KnownListener.GUEST_AGENT) == r"\\.\pipe\cmd_monitor_guestagent"
    assert windows_pipe_name(KnownListener.GUEST_AGENT, r"\\.\pipe\mine") == r"\\.\pipe\mine_guestagent"

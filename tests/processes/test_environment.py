from ctld.processes import inherited_environment


def test_what_was_said_to_the_daemon_alone_is_not_passed_on():
    environ = {
        "PATH": "/bin",
        "CTLD_SOCKET": "unix:/run/x",
        "NOTIFY_SOCKET": "/run/notify",
        "LISTEN_FDS": "1",
        "CREDENTIALS_DIRECTORY": "/run/credentials/ctld",
        "CTLD_TOKEN": "another daemon's",
    }
    assert inherited_environment(environ) == {"PATH": "/bin", "CTLD_SOCKET": "unix:/run/x"}
    assert environ["LISTEN_FDS"] == "1"


def test_by_default_it_is_that_of_this_process(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    monkeypatch.setenv("CTLD_TEST", "here")
    inherited = inherited_environment()
    assert inherited["CTLD_TEST"] == "here"
    assert "NOTIFY_SOCKET" not in inherited

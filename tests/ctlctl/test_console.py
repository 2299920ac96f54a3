"""`ctlctl console` hands over to `ctlctl.sessions`; the whole is in `test_sessions.py`."""

from ctlctl import console as module
from ctlctl.cli import LOCAL


def test_it_is_the_daemons_console(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "run_session", lambda *args: seen.append(args) or 7)
    assert module.run("caller", []) == 7
    assert seen == [("caller", "console", [])]
    assert LOCAL["console"][0] == "ctlctl.console"

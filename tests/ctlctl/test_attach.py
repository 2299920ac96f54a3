"""`ctlctl session attach` hands over to `ctlctl.sessions`; the whole is in `test_sessions.py`."""

from ctlctl import attach as module
from ctlctl.cli import LOCAL


def test_it_is_the_daemons_session_attach(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "run_session", lambda *args: seen.append(args) or 7)
    assert module.run("caller", ["abc"]) == 7
    assert seen == [("caller", "session_attach", ["abc"])]
    assert LOCAL["session attach"][0] == "ctlctl.attach"

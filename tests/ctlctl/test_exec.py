"""`ctlctl exec` hands over to `ctlctl.sessions`; the whole is in `test_sessions.py`."""

from ctlctl import exec as module
from ctlctl.cli import LOCAL


def test_it_is_the_daemons_exec(monkeypatch):
    seen = []
    monkeypatch.setattr(module, "run_session", lambda *args: seen.append(args) or 7)
    assert module.run("caller", ["ls"]) == 7
    assert seen == [("caller", "exec", ["ls"])]
    assert LOCAL["exec"][0] == "ctlctl.exec"

from ctld.commands.runtime import Runtime, ServerView
from ctld.limits import Limits
from ctld.policy import Policy
from tests.commands.stage import View


def test_two_daemons_in_one_process_share_nothing():
    view: ServerView = View()
    one, other = (Runtime(app=None, server=view, policy=Policy()) for _ in range(2))
    assert one.events is not other.events
    assert one.locks is not other.locks
    assert one.operations is not other.operations
    assert one.limits == other.limits == Limits()
    assert not one.stopping
    assert one.started_at > 0


def test_the_uptime_does_not_follow_the_clock_on_the_wall(monkeypatch):
    runtime = Runtime(app=None, server=View(), policy=Policy())
    monkeypatch.setattr("ctld.commands.runtime.time.time", lambda: runtime.started_at + 86_400)
    assert 0 <= runtime.uptime < 60

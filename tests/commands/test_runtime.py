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

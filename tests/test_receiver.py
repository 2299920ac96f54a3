"""What a connection expects of whoever gets its events, and who does that."""

from ctld.conversation import Conversation
from ctld.receiver import Receiver


def test_a_conversation_is_a_receiver():
    wanted = {name for name in vars(Receiver) if name.startswith("on_")}
    assert wanted == {"on_requests", "on_event", "on_end_of_input", "on_protocol_error", "on_vanished", "on_drained"}
    assert all(callable(getattr(Conversation, name)) for name in wanted)

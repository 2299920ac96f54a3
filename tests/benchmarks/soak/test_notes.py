"""A client's notes are there at once, and its tags are its own."""

import os
import signal

from benchmarks.soak.ledger import Ledger
from benchmarks.soak.notes import Notes


def test_notes_are_understood_by_the_ledger(tmp_path):
    notes = Notes(tmp_path / "notes", "c1")
    key = notes.tag(), "ping"
    notes.sent(key)
    notes.answered(key, "")
    notes.trouble((notes.tag(), "ping"), "silence")
    notes.did("look")
    ledger = Ledger()
    with (tmp_path / "notes").open() as lines:
        ledger.read(lines)
    assert ledger.sent == {("soak_c1_1", "ping"): 1}
    assert ledger.answers == {("soak_c1_1", "ping"): [""]}
    assert [(one.what, one.key) for one in ledger.trouble] == [("silence", ("soak_c1_2", "ping"))]
    assert ledger.kinds == {"look": 1}
    notes.close()


def test_a_client_that_is_killed_takes_nothing_back(tmp_path):
    pid = os.fork()
    if pid == 0:
        Notes(tmp_path / "notes", "c1").sent(("soak_c1_1", "ping"))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert (tmp_path / "notes").read_text() == "sent\tsoak_c1_1\tping\n"

"""What clients noted, beside the audit log: every kind of difference is found, and nothing else."""

import pytest

from benchmarks.soak.ledger import ANY, DETACHED, NOT_BEGUN, Entry, Ledger, compare, unexcused


def ledger_of(*notes):
    ledger = Ledger()
    ledger.read("\t".join(note) + "\n" for note in notes)
    return ledger


def asked(slug="", tag="soak_1", command="ping"):
    return ledger_of(("sent", tag, command), ("answered", tag, command, slug))


def test_notes_are_counted():
    ledger = ledger_of(
        ("sent", "soak_1", "ping"),
        ("answered", "soak_1", "ping", ""),
        ("sent", "soak_2", "ping"),
        ("trouble", "12.5", "refused", "soak_2", "ping"),
        ("did", "look"),
        ("did", "look"),
    )
    assert (ledger.sent.total(), ledger.answered, ledger.kinds) == (2, 1, {"look": 2})
    assert [(one.time, one.what, one.key) for one in ledger.trouble] == [(12.5, "refused", ("soak_2", "ping"))]


def test_the_last_note_of_a_client_that_died_may_be_cut_off():
    ledger = Ledger()
    ledger.read(["sent\tsoak_1\tping\n", "answered\tsoak_1\tpi"])
    assert (ledger.sent.total(), ledger.answered) == (1, 0)


def test_what_nobody_notes_is_a_defect():
    with pytest.raises(ValueError, match="no client writes"):
        ledger_of(("forgot", "soak_1"))


@pytest.mark.parametrize("slug", ["", "failed", "denied", "not-found", "deadline"])
def test_an_answer_is_in_the_log_once_with_its_outcome(slug):
    assert not compare(asked(slug), [Entry("soak_1", "ping", slug)])


@pytest.mark.parametrize("slug", [ANY, DETACHED])
def test_where_the_wire_does_not_tell_any_outcome_fits(slug):
    assert not compare(asked(slug), [Entry("soak_1", "ping", "failed")])
    assert compare(asked(slug), [])


def test_an_answer_that_is_missing_is_found():
    assert compare(asked("failed"), []) == ["1 answered and not in the log: ping soak_1 (failed)"]


@pytest.mark.parametrize("slug", ["syntax", "invalid-options", "unknown-command", "busy", "cancelled", NOT_BEGUN])
def test_what_may_not_have_begun_may_be_missing(slug):
    assert not compare(asked(slug), [])


def test_a_command_that_is_not_recorded_is_not_missed():
    assert not compare(asked(command="sleep"), [])


def test_an_entry_too_many_is_found():
    entry = Entry("soak_1", "ping", "")
    assert compare(asked(), [entry, entry]) == ["1 in the log more often than sent: ping soak_1"]
    assert compare(Ledger(), [entry]) == ["1 in the log more often than sent: ping soak_1"]


def test_an_entry_without_an_answer_is_fine_and_so_are_those_of_others():
    assert not compare(ledger_of(("sent", "soak_1", "ping")), [Entry("soak_1", "ping", "cancelled")])
    assert not compare(Ledger(), [Entry("", "ping", ""), Entry("ctlctl ping", "ping", "")])


def test_another_outcome_is_found():
    assert compare(asked(), [Entry("soak_1", "ping", "failed")]) == [
        "1 another outcome in the log: ping soak_1: answered done, logged failed"
    ]


def test_what_the_daemon_says_it_has_lost_may_be_missing_and_no_more():
    ledger = ledger_of(*[note for n in "123" for note in (("sent", n, "ping"), ("answered", n, "ping", ""))])
    assert not compare(ledger, [], lost=3)
    assert compare(ledger, [], lost=2)


def test_denials_beyond_the_bound_may_be_missing():
    notes = [note for n in "123" for note in (("sent", n, "shutdown"), ("answered", n, "shutdown", "denied"))]
    assert not compare(ledger_of(*notes), [], denials=2)
    assert compare(ledger_of(*notes), [], denials=3)


def test_only_refusals_while_there_were_no_descriptors_are_excused():
    trouble = ledger_of(
        ("trouble", "9.0", "refused", "soak_1", "ping"),
        ("trouble", "11.0", "refused", "soak_2", "ping"),
        ("trouble", "11.0", "silence", "soak_3", "ping"),
        ("trouble", "13.5", "hung up", "soak_4", "ping"),
        ("trouble", "14.5", "hung up", "soak_5", "ping"),
    ).trouble
    [found] = unexcused(trouble, [(10.0, 12.0)])
    assert found == "3 not answered: ping soak_1: refused, ping soak_3: silence, ping soak_5: hung up"
    assert not unexcused(trouble[1:2], [(10.0, 12.0)])
    assert unexcused(trouble[1:2], [])

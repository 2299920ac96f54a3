"""ctlctl.hints: did you mean, and which side is too old (B48)."""

from pathlib import Path
from typing import Any

import pytest

from tests.client.scripted import BANNER
from tests.ctlctl.running import Run, answering, entry

OLD = {"version": "0.9"}


def unknown(name: str) -> dict[str, Any]:
    return {"status": False, "message": f"Unsupported command '{name}'", "code": "unknown-command"}


def test_a_single_word_is_corrected(run: Run) -> None:
    address = run.serve(answering({"describe": [entry("ping"), entry("job_list"), entry("job_start")]})).address
    assert run("-s", address, "pnig") == (2, "", "ctlctl: Unsupported command 'pnig'; did you mean 'ping'?\n")
    assert run("-s", address, "job") == (2, "", "ctlctl: job needs a further word: list, start\n")
    assert run("-s", address, "zebra") == (2, "", "ctlctl: Unsupported command 'zebra'\n")


GUEST = (
    "usage: ctlctl guest send [--socket PATH | --listener NAME [--dir DIR]] [--timeout S] JSON|-"
    " (see 'ctlctl guest send --help')"
)


def test_a_group_of_our_own_says_how_it_is_used_with_a_daemon_and_without(run: Run, tmp_path: Path) -> None:
    address = run.serve(answering({"describe": [entry("ping"), entry("job_list")]})).address
    for where in (address, str(tmp_path / "none")):
        assert run("-s", where, "guest") == (2, "", f"ctlctl: {GUEST}\n")
        for words in (["guest", "--help"], ["help", "guest"], ["help", "guest", "send"]):
            status, out, err = run("-s", where, *words)
            assert (status, err) == (0, "")
            assert out.startswith("usage: ctlctl guest send ")
    vmctl = run("-s", str(tmp_path / "none"), "guest", prog="vmctl")
    assert vmctl == (2, "", f"vmctl: {GUEST}\n".replace("ctlctl guest", "vmctl guest"))


def test_a_group_of_our_own_that_is_mistyped_or_left_to_the_daemon(run: Run, tmp_path: Path) -> None:
    address = run.serve(answering({"describe": [entry("ping")]})).address
    mistyped = "ctlctl: this daemon has no command 'guest sned'; did you mean 'guest send'?\n"
    assert run("-s", address, "guest", "sned") == (2, "", mistyped)
    assert run("-s", address, "--", "guest") == (2, "", "ctlctl: Unsupported command 'guest'\n")
    # It may be a command of the daemon that does not run.
    for words in (["--", "guest"], ["guest", "list"], ["guest", "list", "--help"], ["job"], ["job", "--help"]):
        status, out, err = run("-s", str(tmp_path / "none"), *words)
        assert (status, out) == (7, "")
        assert "no daemon" in err or "does not exist" in err


def test_a_group_that_the_daemon_has_too(run: Run) -> None:
    address = run.serve(
        answering({"describe": [entry("guest_list"), entry("guest_start"), entry("lock_list")]})
    ).address
    assert run("-s", address, "guest") == (2, "", "ctlctl: guest needs a further word: list, send, start\n")
    status, out, err = run("-s", address, "guest", "--help")
    assert (status, err) == (0, "")
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("  ")] == [
        ["guest", "list"],
        ["guest", "start"],
        ["guest", "send"],
    ]
    out = run("-s", address, "help", "lock")[1]
    assert out.splitlines()[-2:] == ["Of ctlctl itself", "  lock graph                  draw who waits for whom"]


@pytest.mark.parametrize("word", ["gather", "job", "session", "lock"])
def test_a_group_of_which_only_our_part_is_there_is_none(run: Run, word: str) -> None:
    address = run.serve(answering({"describe": [entry("ping")]})).address
    assert run("-s", address, word) == (2, "", f"ctlctl: this daemon has no {word} commands\n")
    assert run("-s", address, word, "--help") == (2, "", f"ctlctl: this daemon has no command '{word}'\n")


def test_a_daemon_that_does_not_describe_itself(run: Run) -> None:
    assert run.against([unknown("pnig")], "pnig") == (2, "", "ctlctl: Unsupported command 'pnig'\n")
    assert run("-s", run.serve(answering({})).address, "job", "list") == (
        2,
        "",
        "ctlctl: this daemon does not describe its commands: write COMMAND --opts JSON\n",
    )


def test_b48_a_built_in_command_that_an_older_daemon_lacks(run: Run) -> None:
    status, out, err = run("-s", run.daemon(unknown("op_list"), banner=OLD).address, "op_list")
    assert (status, out) == (2, "")
    assert err == (
        "ctlctl: Unsupported command 'op_list' (the daemon is version 0.9 and speaks version 1 of the protocol; "
        "this command came with a later one, or its author left it out)\n"
    )
    _, _, err = run("-s", run.daemon(unknown("policy_list")).address, "policy")
    assert "the daemon is version 1.0 and speaks version 2 of the protocol" in err


def test_b48_a_daemon_that_is_too_new(run: Run) -> None:
    new = BANNER | {"protocol": 3, "version": "9.0"}
    status, _, err = run("-s", run.daemon({"status": True, "novelty": 1}, banner=new).address, "x")
    assert status == 8
    assert "the daemon (9.0) speaks version 3 of the protocol, and this client version 2: the client is too old" in err
    assert err.count("\n") == 1


def test_b48_detach_needs_a_later_daemon(run: Run) -> None:
    status, _, err = run("-s", run.daemon(banner=OLD).address, "--detach", "x")
    assert (status, err) == (
        8,
        "ctlctl: the daemon is too old to detach a command: it speaks version 1 of the protocol\n",
    )


def test_options_that_do_not_fit_point_at_the_help(run: Run) -> None:
    failure = {"status": False, "message": "option 'name' is missing", "code": "invalid-options"}
    assert run.against([failure], "vm_start")[2] == ("ctlctl: option 'name' is missing (see 'ctlctl help vm start')\n")

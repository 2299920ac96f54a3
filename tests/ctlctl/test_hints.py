"""ctlctl.hints: did you mean, and which side is too old (B48)."""

from typing import Any

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

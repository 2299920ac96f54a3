import json
import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.jobs.jobfile import MAX_JOB_FILE, InvalidJobFile, JobSpec, parse_job_file
from ctld.jobs.state import Policy, RestartMode


def parse(**keys) -> JobSpec:
    return parse_job_file(json.dumps({"cmd": "sleep 1", **keys}).encode())


ORIGINAL = {
    "cmd": "sleep 1000",
    "runas": "",
    "procNr": 2,
    "autoStart": False,
    "restart": 0,
    "startTime": 1,
    "normalExitCode": 0,
    "restartTimes": 0,
    "stopSig": 15,
    "stopTime": 1,
    "stdout": "o",
    "stderr": "e",
    "env": [{"name": "A", "value": "b"}],
    "dir": "./work",
    "umask": "0022",
}


def test_a_file_of_the_original_program_is_understood():
    assert parse_job_file(json.dumps(ORIGINAL).encode()) == JobSpec(
        command="sleep 1000",
        processes=2,
        auto_start=False,
        policy=Policy(RestartMode.NEVER, 0, 1, 1, frozenset({0})),
        stdout="o",
        stderr="e",
        env={"A": "b"},
        directory="./work",
    )


def test_only_the_command_is_required():
    assert parse() == JobSpec(command="sleep 1")
    spec = parse()
    assert (spec.processes, spec.auto_start, spec.policy, spec.umask) == (1, True, Policy(), 0o022)
    assert (spec.stop_signal, spec.reload_signal, spec.log_max_bytes) == (signal.SIGTERM, signal.SIGHUP, 0)


def test_our_own_keys_are_understood():
    spec = parse(
        tty=True,
        reloadSig="usr1",
        stopSig="SIGINT",
        user="www",
        group="adm",
        limits={"nofile": 100, "core": ["unlimited", -1], "NPROC": [1, 2]},
        logMaxBytes=1000,
        logBackups=0,
        dependsOn=["db", "cache", "db"],
    )
    assert (spec.tty, spec.user, spec.group) == (True, "www", "adm")
    assert (spec.reload_signal, spec.stop_signal) == (signal.SIGUSR1, signal.SIGINT)
    assert spec.limits == {
        resource.RLIMIT_NOFILE: (100, 100),
        resource.RLIMIT_CORE: (resource.RLIM_INFINITY, resource.RLIM_INFINITY),
        resource.RLIMIT_NPROC: (1, 2),
    }
    assert (spec.log_max_bytes, spec.log_backups, spec.depends_on) == (1000, 0, ("db", "cache"))


def test_unknown_keys_are_ignored():
    assert parse(comment=[{"deep": None}]) == parse()


def test_comments_are_allowed_outside_of_strings():
    text = b"""// first
    { // opening
      "cmd": "echo // not a comment \\" // nor this", // "umask": "9"
      "dir": "/tmp" //
    } // last"""
    spec = parse_job_file(text)
    assert spec.command == 'echo // not a comment " // nor this'
    assert spec.directory == "/tmp"


def test_the_last_of_duplicate_keys_wins():
    assert parse_job_file(b'{"cmd": "a", "cmd": "b"}').command == "b"


def test_both_names_of_the_normal_exit_are_known_and_code_wins():
    assert parse(normalExitSig=3).policy.normal_exits == {3}
    assert parse(normalExitSig=3, normalExitCode=4).policy.normal_exits == {4}
    assert parse(normalExitSig=3, normalExitCode=0).policy.normal_exits == {0}
    assert parse(normalExitCode=-15).policy.normal_exits == {-15}
    assert parse(normalExitCode=[0, 2, -2]).policy.normal_exits == {0, 2, -2}


def test_any_negative_number_of_restarts_is_unlimited():
    assert parse(restartTimes=-7).policy.restart_times == -1


@pytest.mark.parametrize(("text", "umask"), [("022", 0o022), ("0022", 0o022), ("0", 0), ("777", 0o777), ("0o27", 0o27)])
def test_masks_are_octal(text, umask):
    assert parse(umask=text).umask == umask


def test_user_and_runas_are_one():
    assert parse(runas="www").user == "www"
    assert parse(runas="www", user="www").user == "www"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("cmd", "", "cmd: it is empty"),
        ("cmd", " \t", "cmd: it is empty"),
        ("cmd", 5, "cmd: expected `str`, got `int`"),
        ("cmd", "a\0b", "cmd: it holds a NUL"),
        ("runas", None, "runas: expected `str`, got `null`"),
        ("procNr", 0, "procNr: expected `int` >= 1"),
        ("procNr", 1001, "procNr: expected `int` <= 1000"),
        ("procNr", True, "procNr: expected `int`, got `bool`"),
        ("procNr", "1", "procNr: expected `int`, got `str`"),
        ("procNr", 1.5, "procNr: expected `int`, got `float`"),
        ("autoStart", 1, "autoStart: expected `bool`, got `int`"),
        ("restart", 3, "restart: expected `int` <= 2"),
        ("restart", -1, "restart: expected `int` >= 0"),
        ("startTime", 0, "startTime: expected `int` >= 1"),
        ("startTime", 10**9, "startTime: expected `int` <= 31622400"),
        ("stopTime", -1, "stopTime: expected `int` >= 1"),
        ("normalExitCode", "0", "normalExitCode: expected `int | array`, got `str`"),
        ("normalExitCode", 256, "normalExitCode: expected `int` <= 255"),
        ("normalExitCode", [0, -65], "normalExitCode[1]: expected `int` >= -64"),
        ("restartTimes", None, "restartTimes: expected `int`, got `null`"),
        ("stopSig", 300, "stopSig: expected `int` <= 64"),
        ("stopSig", 0, "stopSig: expected `int` >= 1"),
        ("stopSig", "NOSUCH", "stopSig: there is no signal 'NOSUCH'"),
        ("reloadSig", "", "reloadSig: there is no signal ''"),
        ("stdout", 1, "stdout: expected `str`, got `int`"),
        ("stdout", "logs/", "stdout: 'logs/' names no file"),
        ("stderr", "a\0", "stderr: it holds a NUL"),
        ("env", {"A": "b"}, "env: expected `array`, got `object`"),
        ("env", [{"name": "A"}], "env[0]: object missing required field `value`"),
        ("env", [{"name": "", "value": ""}], "env[0].name: '' is no name of a variable"),
        ("env", [{"name": "A=B", "value": ""}], "env[0].name: 'A=B' is no name of a variable"),
        ("env", [{"name": "A", "value": "\0"}], "env[0].value: it holds a NUL"),
        ("dir", 5, "dir: expected `str`, got `int`"),
        ("umask", 18, "umask: expected `str`, got `int`"),
        ("umask", "8", "umask: '8' is no octal number from 0 to 0777"),
        ("umask", "1777", "umask: '1777' is no octal number from 0 to 0777"),
        ("umask", "", "umask: '' is no octal number from 0 to 0777"),
        ("umask", "022\n", "umask: '022\\n' is no octal number from 0 to 0777"),
        ("tty", "yes", "tty: expected `bool`, got `str`"),
        ("limits", {"nosuch": 1}, "limits.nosuch: there is no such limit; there are as, core"),
        ("limits", {"core": "much"}, "limits.core: 'much' is neither a number nor \"unlimited\""),
        ("limits", {"core": -2}, 'limits.core: -2 is neither a number nor "unlimited"'),
        ("limits", {"core": 2**63}, "is neither a number"),
        ("limits", {"core": [2, 1]}, "limits.core: the soft limit is above the hard one"),
        ("limits", {"core": ["unlimited", 1]}, "limits.core: the soft limit is above the hard one"),
        ("limits", {"core": [1]}, "limits[...]: expected `array` of length >= 2"),
        ("limits", {"core": True}, "expected `int | str | array`, got `bool`"),
        ("logMaxBytes", -1, "logMaxBytes: expected `int` >= 0"),
        ("logBackups", -1, "logBackups: expected `int` >= 0"),
        ("dependsOn", "db", "dependsOn: expected `array`, got `str`"),
        ("dependsOn", [1], "dependsOn[0]: expected `str`, got `int`"),
    ],
)
def test_a_wrong_value_is_named_with_its_reason(key, value, reason):
    with pytest.raises(InvalidJobFile) as caught:
        parse(**{key: value})
    assert reason in str(caught.value)
    assert str(caught.value.fields["key"]).startswith(key)


def test_contradicting_users_are_refused():
    with pytest.raises(InvalidJobFile, match="user: it is 'a', and runas is 'b'"):
        parse(user="a", runas="b")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not JSON: Input data was truncated"),
        (b"{}", "object missing required field `cmd`"),
        (b"[]", "expected `object`, got `array`"),
        (b"null", "expected `object`, got `null`"),
        (b"{'cmd': 'a'}", "not JSON: JSON is malformed"),
        (b'{"cmd": "\xff"}', "not JSON"),
        (b'{"cmd": "a"} x', "not JSON"),
        (b'{"cmd": "a", "x": ' + b"[" * 100_000, "not JSON"),
        (b'{"cmd": "a" /* no */}', "not JSON"),
        (b" " * (MAX_JOB_FILE + 1), f"it has {MAX_JOB_FILE + 1} bytes"),
    ],
)
def test_what_is_no_job_file_is_refused(text, reason):
    with pytest.raises(InvalidJobFile) as caught:
        parse_job_file(text)
    assert reason in str(caught.value)


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda value: json.dumps(value).encode(),
        st.dictionaries(
            st.sampled_from([*ORIGINAL, "limits", "dependsOn", "tty"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.lists(st.integers() | st.text())
            | st.dictionaries(st.text(), st.integers()),
        ),
    )
)
def test_garbage_is_refused_and_nothing_else(data):
    try:
        spec = parse_job_file(data)
    except InvalidJobFile:
        return
    assert isinstance(spec, JobSpec)

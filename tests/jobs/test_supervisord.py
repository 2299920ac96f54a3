"""Moving from supervisord: every option, and what is told about those without a counterpart."""

import json
import subprocess

import pytest

from ctld.errors import ConfigError
from ctld.jobs.jobfile import parse_job_file
from ctld.jobs.supervisord import import_supervisord

FULL = """\
[unix_http_server]
file=/run/supervisor.sock

[supervisord]
logfile=/var/log/supervisord.log

[program:web]
command=/usr/bin/web --port=80%(process_num)d --name "%(program_name)s in %(group_name)s" --at %(here)s $HOME;x ; why
process_name=%(program_name)s_%(process_num)02d
numprocs=2
directory=/srv/%(ENV_SITE)s
umask=22
priority=900
autostart=no
autorestart=true
startsecs=3
startretries=5
exitcodes=0,2
stopsignal=QUIT
stopwaitsecs=7
stopasgroup=true
user=nobody
redirect_stderr=true
stdout_logfile=/var/log/web-%(process_num)d
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=4
environment=A="1, 2",B=%%x,C="it's"
serverurl=AUTO

[program:db]
command=db
autorestart=false
startretries=1
startsecs=0
stderr_logfile=/var/log/db.err

[group:site]
programs=web,other

[include]
files = conf.d/*.conf

[eventlistener:mail]
command=mail
"""


@pytest.fixture
def imported():
    return import_supervisord(FULL, {"SITE": "site"}, "/etc/supervisor")


def test_every_option(imported):
    assert list(imported.files) == ["site/web", "db"]
    assert json.loads(imported.files["site/web"]) == {
        "cmd": "/usr/bin/web '--port=80'\"$CTLD_PROCESS\"'' --name 'web in site' --at /etc/supervisor '$HOME;x'",
        "procNr": 2,
        "dir": "/srv/site",
        "umask": "022",
        "autoStart": False,
        "restart": 2,
        "restartTimes": -1,
        "startTime": 3,
        "normalExitCode": [0, 2],
        "stopSig": "QUIT",
        "stopTime": 7,
        "user": "nobody",
        "stdout": "",
        "stderr": "",
        "env": [{"name": "A", "value": "1, 2"}, {"name": "B", "value": "%x"}, {"name": "C", "value": "it's"}],
    } | {"stdout": "/var/log/web-", "stderr": "/var/log/web-", "logMaxBytes": 1024 * 1024, "logBackups": 4}
    assert json.loads(imported.files["db"]) == {
        "cmd": "db",
        "startTime": 1,
        "stopTime": 10,
        "restart": 0,
        "stdout": "",
        "stderr": "/var/log/db.err",
        "logMaxBytes": 50 * 1024 * 1024,
        "logBackups": 10,
    }
    for data in imported.files.values():
        parse_job_file(data)


def test_what_has_no_counterpart_is_told(imported):
    notes = "\n".join(imported.notes)
    for note in (
        "[program:web]: it is restarted without bound",
        "[program:web]: stdout_logfile: the file's name begins with the number of the process: 0_NAME",
        "[program:web]: process_name: processes have the job's name and a number",
        "[program:web]: priority: say with dependsOn what has to be there first",
        "[program:web]: serverurl: it has no counterpart",
        "[program:db]: startretries: with autorestart=false nothing is tried again here",
        "[program:db]: stdout_logfile: none is named, so stdout is discarded; say where it goes",
        "[program:db]: startsecs=0: here a process has to live for a second",
        "[include]: import these files, too: conf.d/*.conf",
        "[eventlistener:mail]: there is no such thing here",
    ):
        assert note in notes
    assert "stopasgroup" not in notes
    assert "[supervisord]" not in notes


def test_the_words_of_a_command_stay_what_they_were():
    words = ["printf", "%s|", "a b", "$HOME", "*", "it's", "x;y", "`id`", "80%(process_num)d"]
    quoted = " ".join('"' + word.replace("%s", "%%s").replace("$", "\\$").replace("`", "\\`") + '"' for word in words)
    quoted = quoted.replace("\\$", "$").replace("\\`", "`")
    data = import_supervisord(f"[program:p]\ncommand={quoted}\n", {}, "/").files["p"]
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {json.loads(data)['cmd']}"],
        env={"CTLD_PROCESS": "3", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "a b|$HOME|*|it's|x;y|`id`|803|"


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ("", "not imported: it has no command"),
        ("command='x", "not imported: command: No closing quotation"),
        ("command=x %(nobody)s", "not imported: nobody knows what %(nobody)s is"),
        ("command=x\nnumprocs=many", "not imported: 'many' is no number"),
        ("command=x\nnumprocs=100000", "not imported: procNr: "),
        ("command=x\nstopsignal=NOPE", "not imported: stopSig: there is no signal 'NOPE'"),
        ("command=x\nenvironment=A", "not imported: environment: 'A' is not NAME=VALUE"),
        ("command=x\ndirectory=/d%(process_num)d", "not imported: directory: it cannot depend on the number"),
        ("command=x %(process_num)02d", "process_num: here it is not padded with zeros"),
        ("command=x\nstdout_logfile=syslog", "stdout_logfile=syslog: output goes to plain files here"),
        ("command=x\nstdout_logfile=/dev/stdout", "stdout_logfile=/dev/stdout: output goes to plain files here"),
        ("command=x\nstdout_logfile=/l\nstdout_logfile_maxbytes=big", "not imported: 'big' is no number"),
        ("command=x\nstdout_logfile=/l\nstdout_logfile_backups=x", "not imported: 'x' is no number"),
        ("command=x\nstopsignal=300", "not imported: stopSig: "),
    ],
)
def test_what_cannot_be_done_is_told(options, note):
    imported = import_supervisord(f"[program:p]\n{options}\n", {}, "/")
    assert any(line.startswith(f"[program:p]: {note}") for line in imported.notes), imported.notes
    assert bool(imported.files) != ("not imported" in note)


def test_defaults_and_devices():
    text = "[program:p]\ncommand=x\nstdout_logfile=NONE\nstderr_logfile=/dev/null\nstopsignal=9\n"
    imported = import_supervisord(text, {}, "/")
    assert json.loads(imported.files["p"]) == {
        "cmd": "x", "stopSig": 9, "stopTime": 10, "restart": 1, "restartTimes": -1, "stdout": "", "stderr": "",
    }  # fmt: skip
    assert len(imported.notes) == 1


def test_a_name_that_no_job_can_have():
    imported = import_supervisord("[program:a b]\ncommand=x\n", {}, "/")
    assert imported.files == {}
    assert "[program:a b]: not imported: 'a b' is no name for a job" in imported.notes


@pytest.mark.parametrize("text", ["no section", "[program:x\n", "[a]\nx"])
def test_what_is_no_configuration(text):
    with pytest.raises(ConfigError):
        import_supervisord(text, {}, "/")

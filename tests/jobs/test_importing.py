"""`ctld jobs import` as it is run."""

import json

import pytest

from ctld.__main__ import main

TEXT = "[program:web]\ncommand=sleep 9\nstdout_logfile=/var/log/w\n[program:x]\n"


@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "supervisord.conf"
    path.write_text(TEXT.replace("[program:x]\n", ""))
    return path


def test_without_a_directory_it_only_shows(conf, capsys):
    assert main(["jobs", "import", str(conf)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith('// web.tm.json\n{"cmd":"sleep 9"')
    assert f"{conf}: [program:web]: stderr_logfile: none is named" in err


@pytest.mark.parametrize("words", [["--to", "{to}", "{conf}"], ["{conf}", "--to={to}"]])
def test_it_writes_and_overwrites_nothing(conf, tmp_path, capsys, words):
    to = tmp_path / "jobs"
    to.mkdir()
    words = [word.format(to=to, conf=conf) for word in words]
    assert main(["jobs", "import", *words]) == 0
    assert capsys.readouterr().out == f"{to}/web.tm.json\n"
    assert json.loads((to / "web.tm.json").read_text())["cmd"] == "sleep 9"
    (to / "web.tm.json").write_text("mine")
    assert main(["jobs", "import", *words]) == 1
    assert "there is a job 'web' already: it is left as it is" in capsys.readouterr().err
    assert (to / "web.tm.json").read_text() == "mine"


def test_what_cannot_be_imported_shows_in_the_status(conf, capsys):
    conf.write_text(TEXT)
    assert main(["jobs", "import", str(conf)]) == 1
    out, err = capsys.readouterr()
    assert "web.tm.json" in out
    assert "[program:x]: not imported: it has no command" in err


def test_files_that_cannot_be_read(conf, tmp_path, capsys):
    (tmp_path / "latin").write_bytes(b"\xff")
    (tmp_path / "none").write_text("x")
    files = [str(tmp_path / name) for name in ("nosuch", "latin", "none")]
    assert main(["jobs", "import", *files, str(conf)]) == 1
    out, err = capsys.readouterr()
    assert [line.split(": ")[-1] for line in err.splitlines()[:2]] == ["No such file or directory", "it is no UTF-8"]
    assert "web.tm.json" in out  # the others are


def test_a_directory_that_is_none(conf, tmp_path, capsys):
    assert main(["jobs", "import", "--to", str(tmp_path / "nosuch"), str(conf)]) == 1
    assert "cannot read the job directory" in capsys.readouterr().err
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/web.tm.json").symlink_to("/etc/passwd")
    assert main(["jobs", "import", "--to", str(tmp_path / "jobs"), str(conf)]) == 1
    assert "leads over something that is no folder or no file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--to", "x"], ["--to"], ["--form", "x", "y"], ["a", "--to", "x", "--to", "y"]])
def test_misuse(words, capsys):
    assert main(["jobs", "import", *words]) == 2
    assert "usage: ctld" in capsys.readouterr().err

"""The log: one line per record, and nobody forges one."""

import io
import json
import logging
import os
import re
import sys

import pytest

from ctld.log import escape, is_journal, set_up_logging

logger = logging.getLogger("ctld.probe")


@pytest.fixture
def written():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()

    def start(level="info", form="text", *, journal=False):
        set_up_logging(stream, level, form, journal=journal)
        return stream

    yield start
    root.handlers[:], level = before
    root.setLevel(level)


def fail():
    try:
        raise RuntimeError("first\n2026-01-01 00:00:00 INFO ctld: forged\x1b[2J")
    except RuntimeError:
        logger.exception("broken")


def test_text_lines_carry_time_level_and_name(written):
    stream = written()
    logger.info("hello %s", "world")
    logger.debug("too fine")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO ctld\.probe: hello world\n", stream.getvalue())


def test_the_level_decides(written):
    stream = written("error")
    logger.warning("not this")
    logger.error("this")
    assert stream.getvalue().endswith("ERROR ctld.probe: this\n")
    assert stream.getvalue().count("\n") == 1


def test_a_message_cannot_forge_a_line_or_speak_to_the_terminal(written):
    stream = written()
    logger.info("%s", "a\nERROR root: forged\r\x1b[31m\x7f\x9b\u202e")
    assert stream.getvalue().endswith(r"a\nERROR root: forged\r\x1b[31m\x7f\x9b\u202e" + "\n")
    assert stream.getvalue().count("\n") == 1


def test_a_traceback_is_indented_and_escaped(written):
    stream = written()
    fail()
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("ERROR ctld.probe: broken")
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert rest[-1] == r"    2026-01-01 00:00:00 INFO ctld: forged\x1b[2J"


def test_the_stack_is_shown_where_it_is_asked_for(written):
    stream = written()
    logger.info("here", stack_info=True)
    assert "    Stack (most recent call last):" in stream.getvalue()


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)],
)
def test_the_journal_reads_priorities(written, level, priority):
    stream = written("debug", journal=True)
    getattr(logger, level)("word")
    assert stream.getvalue() == f"<{priority}>ctld.probe: word\n"


def test_each_line_of_a_traceback_has_its_priority_in_the_journal(written):
    stream = written(journal=True)
    fail()
    first, *rest = stream.getvalue().splitlines()
    assert first == "<3>ctld.probe: broken"
    assert all(line.startswith("<3>    ") for line in rest)


def test_json_lines(written):
    stream = written(form="json")
    logger.warning("a\nb\x1b")
    fail()
    logger.info("here", stack_info=True)
    first, second, third = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("warning", "ctld.probe", "a\nb\x1b")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", first["time"])
    assert "\x1b" not in stream.getvalue()
    assert second["traceback"].startswith("Traceback")
    assert third["stack"].startswith("Stack")


def test_escape_leaves_what_can_be_printed():
    assert escape("täglich 10 € ☃") == "täglich 10 € ☃"


def test_the_journals_stream_is_known_by_its_inode(tmp_path):
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": "8:1"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "8:1"})
    assert not is_journal(stream, {"JOURNAL_STREAM": "8:1"})


def test_set_up_again_replaces_what_was_there(written):
    stream = written()
    written(form="json")
    logger.info("once")
    assert stream.getvalue().count("\n") == 1
    assert sys.stderr not in {getattr(handler, "stream", None) for handler in logging.getLogger().handlers}

"""The kept corpus, replayed: whatever once was a finding is none any more."""

import re

import pytest

from tests.fuzz.targets import CORPUS, TARGETS

MAX_CORPUS = 1024 * 1024  # what comes along in every checkout


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus(name):
    for path in TARGETS[name].seeds():
        try:
            TARGETS[name].fuzz_one(path.read_bytes())
        except Exception as exc:
            exc.add_note(f"the input is {path}")
            raise


# Targets of parsers that hold no more than a line, or cut their inputs in many ways, take too long for such sizes.
DEEP = (
    "jsontext", "guest_request", "options", "session_options", "event_filter", "history", "secrets", "policy",
    "job_file", "toml", "taskmaster_answers", "specs", "tables", "pictures", "help",
)  # fmt: skip


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
def test_nesting_without_end_is_no_way_out(name, opening):
    for path in TARGETS[name].seeds()[:4]:
        data = path.read_bytes()
        for place in [found.end() for found in re.finditer(rb"^|[:=]", data)][:4]:
            TARGETS[name].fuzz_one(data[:place] + opening * 20_000 + data[place:])


def test_every_target_has_a_corpus():
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
    assert all(target.seeds() for target in TARGETS.values())


def test_the_corpus_is_small():
    sizes = {path: path.stat().st_size for path in CORPUS.glob("*/*")}
    assert sum(sizes.values()) < MAX_CORPUS
    assert all(size <= 2048 for size in sizes.values())


def test_every_target_says_what_must_hold():
    assert all(target.fuzz_one.__doc__ for target in TARGETS.values())

"""What is published is what was measured."""

import pytest

from benchmarks.processes import ROOT
from benchmarks.publish import PAGE, README, RESULTS, between, publish, rendered
from benchmarks.report import from_json
from tests.benchmarks.test_markdown import A_RUN

PLACE = "before\n<!-- benchmarks: goals -->\nold\n\nolder\n<!-- end of goals -->\nafter\n"


def test_only_what_is_between_the_markers_changes():
    want = "before\n<!-- benchmarks: goals -->\n\nnew\n\n<!-- end of goals -->\nafter\n"
    assert between(PLACE, "goals", "new\n") == want
    assert between(want, "goals", "new") == want


def test_nothing_in_a_figure_is_taken_for_a_pattern():
    assert "\\1 \\g<0>" in between(PLACE, "goals", "\\1 \\g<0>")


@pytest.mark.parametrize("text", ["", PLACE * 2, PLACE.replace("end of goals", "end")])
def test_a_page_without_its_one_place_is_refused(text):
    with pytest.raises(ValueError, match="no place for goals"):
        between(text, "goals", "new")


def test_a_run_is_written_to_all_its_places(tmp_path, capsys):
    for path in (PAGE, README):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    publish(A_RUN, tmp_path)
    assert from_json((tmp_path / RESULTS).read_text()) == A_RUN
    assert "| **ctld**, the full path | 0.61 |" in (tmp_path / README).read_text()
    assert "load generator 38% busy" in (tmp_path / PAGE).read_text()
    assert (tmp_path / PAGE).with_name("benchmark-c50.svg").exists()
    assert f"written: {PAGE}" in capsys.readouterr().out


def test_what_is_committed_is_what_the_results_say():
    for path, text in rendered(from_json((ROOT / RESULTS).read_text())).items():
        assert (ROOT / path).read_text() == text, f"{path}: python -m benchmarks --publish-from {RESULTS}"

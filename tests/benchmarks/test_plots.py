"""Which rows make which plot."""

from xml.etree import ElementTree

from benchmarks.plots import plots
from benchmarks.results import Row, missing


def test_a_plot_for_each_scenario_that_was_measured():
    rows = [
        Row("c50 ping", "LIMIT-B", 80000, 70000, 90000, "req/s"),
        Row("c50 ping", "C, fixed bytes", 3, 3, 3, "x"),
        Row("c50 ping", "ctld full", 0.61, 0.55, 0.64, "x"),
        Row("c50 echo", "ctld full", 0.51, 0.45, 0.54, "x"),
        missing("c50 ping", "varlink", "x", "gone"),
        Row("c50 ping", "ctld full / varlink", 5, 4, 6, "x"),
        Row("events to 1", "ctld full", 4.0, 4.0, 4.0, "us"),
        Row("events to 1000", "ctld full", 2.0, 2.0, 2.0, "us"),
        Row("events to 1000", "each, to 100", 0.8, 0.8, 0.8, "x"),
        Row("growth with connections", "1", 20.0, 20.0, 20.0, "us"),
        Row("growth with connections", "5,000", 21.0, 21.0, 21.0, "us"),
        Row("growth with connections", "5,000 to 1", 1.05, 1.0, 1.1, "x"),
        Row("growth with commands", "10, 10 of them asked for", 9.0, 9.0, 9.0, "us"),
        Row("growth with commands", "10,000, 10,000 of them asked for", 12.0, 9.0, 9.0, "us"),
        Row("growth with commands", "10,000, 10 of them asked for", 9.5, 9.0, 9.0, "us"),
    ]
    drawn = plots(rows)
    assert sorted(drawn) == ["benchmark-c50.svg", "benchmark-growth.svg"]
    c50 = drawn["benchmark-c50.svg"].svg
    assert "ctld full</text>" in c50
    assert "varlink</text>" in c50
    assert "LIMIT-B</text>" not in c50  # it is what the others are measured by
    assert "/ varlink" not in c50  # a comparison is no server
    assert "fixed bytes" not in c50  # the floor would dwarf all others
    assert "not measured" in c50
    assert drawn["benchmark-growth.svg"].svg.count("<circle") == 6
    assert drawn["benchmark-growth.svg"].svg.count("<polyline") == 3
    assert ">5,000</text>" in drawn["benchmark-growth.svg"].svg
    for picture in drawn.values():
        ElementTree.fromstring(picture.svg)


def test_no_rows_no_plots():
    assert plots([]) == {}

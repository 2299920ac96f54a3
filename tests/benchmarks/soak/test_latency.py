"""Percentiles, and a measurement beside the yardstick."""

import pytest

from benchmarks.soak.children import Children
from benchmarks.soak.latency import Latency, measure, percentile
from tests.benchmarks.soak.test_link import listening


def test_percentiles():
    values = [*range(100, 0, -1)]
    assert percentile(values, 0.99) == 100
    assert percentile(values, 0.5) == 51
    assert percentile([7.0], 0.99) == 7.0


def test_a_ratio_does_not_depend_on_the_machine():
    assert Latency(0.002, 0.001).ratio == Latency(0.004, 0.002).ratio == pytest.approx(2.0)


def test_a_daemon_is_measured_and_the_yardstick_leaves_nothing(tmp_path):
    def serve(sock):
        sock.sendall(b"{}\n")
        while sock.recv(4096):
            sock.sendall(b"{}\n")

    children = Children()
    with listening(tmp_path, serve) as where:
        latency = measure(where.unix, tmp_path, children, slices=3, requests=20)
    assert 0 < latency.daemon < 10
    assert 0 < latency.yardstick < 10
    assert not (tmp_path / "yardstick").exists()
    assert len(children.reap()) == 1

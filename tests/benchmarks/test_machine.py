"""Where a run took place."""

import pytest

from benchmarks.machine import processor_of, this_machine


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: A  Fast(R) CPU @ 3\nmodel name\t: B\n", "A Fast(R) CPU @ 3"),
        ("processor\t: 0\nBogoMIPS : 1\n\nModel\t\t: Raspberry Pi 4\n", "Raspberry Pi 4"),
        ("processor\t: 0\n", ""),
        ("", ""),
    ],
)
def test_the_name_of_the_processor(cpuinfo, name):
    assert processor_of(cpuinfo) == name


def test_this_machine_names_what_figures_depend_on():
    machine = this_machine()
    assert machine.processors >= 1
    assert {"ctld", "uvloop", "orjson", "msgspec", "grpcio"} <= set(machine.versions)
    for part in (machine.processor, machine.kernel, machine.python):
        assert part
        assert part in str(machine)

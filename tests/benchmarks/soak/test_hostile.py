"""Messages that are changed a little."""

import random

from benchmarks.soak.hostile import mangled


def test_a_mangled_message_is_drawn_from_chance_and_is_seldom_what_it_was():
    line = b'{"cmd":"ping"}\n'
    changed = [mangled(line, random.Random(seed)) for seed in range(200)]
    assert changed == [mangled(line, random.Random(seed)) for seed in range(200)]
    assert sum(one != line for one in changed) > 190
    assert len({len(one) for one in changed}) > 3
    assert mangled(b"x", random.Random(1)) != b""

"""A13: what recorded conversations with a guest agent hold, and how to have one of them again."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

from tests.dialects.guest_agent.conftest import RawPeer

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors/guestagent_server.json").read_text())[
    "cases"
]

# An agent has so long to answer; where the recorded one said nothing, ours need not take long for that.
_DEADLINE = 10.0
_SHORT = 0.15


def deadline_of(case: dict[str, Any]) -> float:
    """The deadline to run an agent with."""
    return _SHORT if case["waited_for_deadline"] else _DEADLINE


async def converse(case: dict[str, Any], peer: RawPeer) -> None:
    """Say what was said, in as many pieces, and hear what was heard, no sooner."""
    request = base64.b64decode(case["request_b64"])
    began = time.monotonic()
    size = max(1, -(-len(request) // max(case["chunks"], 1)))
    for at in range(0, len(request), size):
        await peer.send(request[at : at + size])
        if case["chunks"] > 1:
            await asyncio.sleep(0)
    if case["half_close"]:
        peer.half_close()
    assert await peer.read() == base64.b64decode(case["response_b64"])
    waited = time.monotonic() - began
    assert waited < _DEADLINE
    assert waited >= _SHORT - 0.01 or not case["waited_for_deadline"]

"""Strangers at a TLS socket who do not say who they are."""

import asyncio
from pathlib import Path

import ctld
from ctld.limits import Limits
from tests.certificates import Authority
from tests.native import serving, until


async def test_n2_a_handshake_that_does_not_go_on_does_not_hold_up_shutdown(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("localhost")
    limits = Limits(stop_grace=3600, cancel_grace=3600, handshake_timeout=3600)
    async with serving(tmp_path, limits=limits) as served:
        where = ctld.Listen(address="tls:127.0.0.1:0", tls_certificate=certificate, tls_key=key)
        listener = await served.server.listen(where)
        host, port = listener.address.removeprefix("tls:").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        await until(served.server.connections)
        writer.write(b"\x16\x03\x01")  # the beginning of a record that never ends
        served.server.close()
        await served.server.wait_closed()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

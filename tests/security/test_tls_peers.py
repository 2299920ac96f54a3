"""Peers at both ends of TLS who are not whom they should be, or do not even finish saying who they are."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import ctld
from ctld.client import AsyncClient, tls_context
from ctld.errors import ConnectFailed
from ctld.limits import Limits
from tests.certificates import Authority
from tests.native import Served, serving, until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def listening(
    tmp_path: Path, authority: Authority, host: str = "127.0.0.1", limits: Limits | None = None, **issue: float
) -> AsyncIterator[tuple[Served, str]]:
    certificate, key = authority.issue("server", **issue)  # type: ignore[arg-type]  # days, if anything
    async with serving(tmp_path, limits=limits or Limits(drain_timeout=1)) as served:
        where = ctld.Listen(address=f"tls:{host}:0", tls_certificate=certificate, tls_key=key, role="observe")
        yield served, (await served.server.listen(where)).address


async def refusal(address: str, authority: Authority) -> str:
    with pytest.raises(ConnectFailed) as caught:
        async with AsyncClient(address, tls=tls_context(authority.file)) as client:
            await client.call("ping")
    return str(caught.value)


async def test_who_is_whom_he_should_be_is_served(tmp_path: Path, authority: Authority) -> None:
    async with (
        listening(tmp_path, authority) as (_, address),
        AsyncClient(address, tls=tls_context(authority.file)) as client,
    ):
        assert await client.call("ping") == "pong"


async def test_a_client_refuses_a_certificate_for_another_host(tmp_path: Path, authority: Authority) -> None:
    async with listening(tmp_path, authority, host="127.0.0.2") as (_, address):
        assert "not valid for" in await refusal(address, authority)


async def test_a_client_refuses_a_certificate_that_has_expired(tmp_path: Path, authority: Authority) -> None:
    async with listening(tmp_path, authority, days=-2) as (_, address):
        assert "expired" in await refusal(address, authority)


async def test_a_client_refuses_an_authority_that_it_does_not_know(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "other").mkdir()
    async with listening(tmp_path, authority) as (_, address):
        assert "unable to get local issuer" in await refusal(address, Authority(tmp_path / "other", "another"))


async def test_handshakes_that_do_not_end_hold_nobody_up(tmp_path: Path, authority: Authority) -> None:
    limits = Limits(handshake_timeout=1, drain_timeout=1)
    async with listening(tmp_path, authority, limits=limits) as (served, address):
        host, port = address.removeprefix("tls:").rsplit(":", 1)
        slow = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
        for _, writer in slow[:10]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")
        await until(lambda: len(served.server.connections()) == 20)
        async with AsyncClient(address, tls=tls_context(authority.file)) as client:
            assert await client.call("ping") == "pong"
        for reader, writer in slow:
            await reader.read()  # the daemon parts from them
            writer.close()
        await until(lambda: not served.server.connections())


async def test_plain_text_at_a_tls_port_is_not_served(tmp_path: Path, authority: Authority) -> None:
    async with listening(tmp_path, authority) as (served, address):
        host, port = address.removeprefix("tls:").rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b'{"cmd":"ping"}\n' * 100)
        assert b"pong" not in await reader.read()
        writer.close()
        await until(lambda: not served.server.connections())


async def test_an_old_version_is_refused(tmp_path: Path, authority: Authority) -> None:
    async with listening(tmp_path, authority) as (_, address):
        host, port = address.removeprefix("tls:").rsplit(":", 1)
        old = ssl.create_default_context(cafile=authority.file)
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, int(port), ssl=old)

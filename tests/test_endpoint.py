import socket
import ssl
import stat

import msgspec
import pytest

from ctld.address import Address
from ctld.endpoint import Endpoint, Listen, address_of, close_all


class TestListen:
    def test_needs_an_address_and_nothing_else(self):
        listen = msgspec.convert({"address": "/run/x.sock"}, Listen)
        assert listen == Listen(address="/run/x.sock")
        assert (listen.dialect, listen.mode, listen.role, listen.backlog) == ("native", "0660", "anyone", 1024)
        with pytest.raises(msgspec.ValidationError, match="address"):
            msgspec.convert({}, Listen)

    def test_is_frozen(self):
        with pytest.raises(AttributeError):
            Listen(address="x").mode = "0666"

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("mode", "rw-rw----"),
            ("mode", "660 "),
            ("mode", "07777"),
            ("mode", "0o660"),
            ("mode", "8"),
            ("mode", 0o660),
            ("role", "boss"),
            ("backlog", 0),
            ("backlog", 1 << 20),
            ("user", 0),
            ("tls_cert", "x"),
        ],
    )
    def test_mistakes_in_a_file_are_named(self, key, value):
        with pytest.raises(msgspec.ValidationError, match=key):
            msgspec.convert({"address": "/x", key: value}, Listen)

    @pytest.mark.parametrize("mode", ["0660", "660", "0000", "777"])
    def test_both_ways_to_write_a_mode(self, mode):
        assert stat.S_IMODE(int(msgspec.convert({"address": "/x", "mode": mode}, Listen).mode, 8)) <= 0o777

    def test_a_dialect_adds_its_keys(self):
        class ListenGuest(Listen, frozen=True, kw_only=True):
            vm: str = ""

        assert msgspec.convert({"address": "/x", "vm": "a"}, ListenGuest).vm == "a"
        with pytest.raises(msgspec.ValidationError, match="mv"):
            msgspec.convert({"address": "/x", "mv": "a"}, ListenGuest)


class TestEndpoint:
    def test_closes_its_socket_once_or_more_often(self):
        sock, listen, context = socket.socket(), Listen(address="x"), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        endpoint = Endpoint(listen, sock, Address("tcp", host="::1", port=7), "tcp", ssl_context=context)
        assert (endpoint.listen, endpoint.socket, endpoint.ssl_context) == (listen, sock, context)
        endpoint.close()
        endpoint.close()
        assert sock.fileno() == -1
        assert repr(endpoint) == "<Endpoint tcp:[::1]:7>"

    def test_closing_several_closes_every_one(self):
        closed = []

        def fail():
            closed.append("failed")
            raise RuntimeError

        sock, address = socket.socket(), Address("tcp", host="h", port=1)
        endpoints = [
            Endpoint(Listen(address="x"), sock, address, "tcp", close=close)
            for close in (lambda: closed.append("one"), fail, lambda: closed.append("two"))
        ]
        with pytest.raises(RuntimeError):
            close_all(endpoints)
        assert sorted(closed) == ["failed", "one", "two"]
        sock.close()


class TestAddress:
    def test_of_a_path(self, tmp_path):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "s"))
            assert str(address_of(sock, "unix")) == f"unix:{tmp_path}/s"

    def test_of_an_abstract_name(self):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(b"\0ctld-\xff-test")
            address = address_of(sock, "unix")
            assert address.path == "@ctld-\udcff-test"
            with socket.socket(socket.AF_UNIX) as again, pytest.raises(OSError, match="in use"):
                again.bind(address.sockaddr)

    @pytest.mark.parametrize("transport", ["tcp", "tls"])
    def test_of_a_port(self, transport):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            assert str(address_of(sock, transport)) == f"{transport}:127.0.0.1:{sock.getsockname()[1]}"

import errno
import os
import pwd
import socket
import ssl
import stat
import threading

import pytest

from ctld import listeners
from ctld.accounts import Accounts
from ctld.endpoint import Listen, close_all
from ctld.errors import AddressInUse, ConfigError, ListenFailed
from ctld.listeners import mistakes_in, open_endpoints
from ctld.unix_socket import ClientSocket
from tests.certificates import Authority


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.fixture
def opened():
    """Opens endpoints, and closes them after the test."""
    made = []

    def open_them(*args, **kwargs):
        found = open_endpoints(*args, **kwargs)
        made.extend(found)
        return found

    yield open_them
    close_all(made)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def tls_keys(authority):
    certificate, key = authority.issue("server")
    return {"tls_certificate": certificate, "tls_key": key}


def connect(endpoint):
    with socket.socket(endpoint.socket.family) as client:
        client.settimeout(10)
        client.connect(endpoint.address.sockaddr)


def listener(family=socket.AF_INET, where=("127.0.0.1", 0)):
    sock = socket.socket(family)
    sock.bind(where)
    sock.listen()
    return sock


def is_safe(endpoint):
    return not endpoint.socket.getblocking() and not endpoint.socket.get_inheritable()


class TestUnix:
    def test_a_plain_address_is_enough(self, opened, tmp_path):
        [endpoint] = opened(f"unix:{tmp_path}/s")
        assert endpoint.transport == "unix"
        assert str(endpoint.address) == f"unix:{tmp_path}/s"
        assert endpoint.listen == Listen(address=f"unix:{tmp_path}/s")
        assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == 0o660
        assert is_safe(endpoint)
        connect(endpoint)
        endpoint.close()
        endpoint.close()
        assert os.listdir(tmp_path) == []

    def test_the_canonical_address_is_absolute(self, opened, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert str(opened("./s")[0].address) == f"unix:{tmp_path}/s"

    @pytest.mark.parametrize("mode", ["0600", "666"])
    def test_the_mode_is_octal(self, opened, tmp_path, mode):
        opened(Listen(address=f"{tmp_path}/s", mode=mode))
        assert stat.S_IMODE(os.stat(tmp_path / "s").st_mode) == int(mode, 8)

    def test_owner_and_group_by_name_and_number(self, opened, tmp_path):
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        nobody = pwd.getpwnam("nobody")
        opened(Listen(address=f"{tmp_path}/a", user="nobody", group="4001"))
        found = os.stat(tmp_path / "a")
        assert (found.st_uid, found.st_gid) == (nobody.pw_uid, 4001)
        opened(Listen(address=f"{tmp_path}/b", group="4001"))
        assert (os.stat(tmp_path / "b").st_uid, os.stat(tmp_path / "b").st_gid) == (0, 4001)

    def test_names_are_looked_up_in_the_daemon_s_accounts(self, opened, tmp_path, monkeypatch):
        class Known(Accounts):
            def uid_of(self, name):
                return {"alice": os.geteuid()}.get(name)

        opened(Listen(address=f"{tmp_path}/s", user="alice"), accounts=Known())
        assert os.stat(tmp_path / "s").st_uid == os.geteuid()

    def test_a_live_one_is_in_use(self, opened, tmp_path):
        opened(f"{tmp_path}/s")
        with pytest.raises(AddressInUse):
            open_endpoints(f"{tmp_path}/s")

    def test_an_abstract_one(self, opened):
        name = f"unix:@ctld-test-{os.getpid()}"
        [endpoint] = opened(name)
        assert str(endpoint.address) == name
        assert is_safe(endpoint)
        connect(endpoint)
        with pytest.raises(AddressInUse, match=f"cannot listen on {name}: another program listens there"):
            open_endpoints(name)

    @pytest.mark.parametrize("kind", ["path", "abstract", "inherited"])
    def test_its_clients_know_what_they_are(self, opened, tmp_path, kind):
        inherited = [("x", listener(socket.AF_UNIX, str(tmp_path / "i")))] if kind == "inherited" else []
        names = {"path": f"unix:{tmp_path}/s", "abstract": f"unix:@ctld-test-{os.getpid()}", "inherited": "systemd:"}
        [endpoint] = opened(names[kind], inherited)
        assert is_safe(endpoint)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(endpoint.address.sockaddr)
            sock, _address = endpoint.socket.accept()
            sock.close()
        assert type(sock) is ClientSocket


class TestTcp:
    def test_a_free_port_is_found_and_told(self, opened):
        endpoints = opened("tcp:localhost:0")
        assert len({endpoint.address.port for endpoint in endpoints}) == 1
        for endpoint in endpoints:
            assert endpoint.transport == "tcp"
            assert endpoint.address.port > 0
            assert is_safe(endpoint)
            connect(endpoint)

    @needs_ipv6
    def test_ipv6(self, opened):
        [endpoint] = opened("tcp:[::1]:0")
        assert str(endpoint.address).startswith("tcp:[::1]:")
        connect(endpoint)

    @needs_ipv6
    def test_every_interface_of_both_families_on_one_port(self, opened):
        [six] = opened("tcp:[::]:0")
        [four] = opened(f"tcp:0.0.0.0:{six.address.port}")
        assert (four.socket.family, four.address.port) == (socket.AF_INET, six.address.port)
        for endpoint, host in ((six, "::1"), (four, "127.0.0.1")):
            with socket.create_connection((host, six.address.port)) as client:
                accepted, where = endpoint.socket.accept()
                accepted.close()
                assert where[1] == client.getsockname()[1], "each has its own family's clients"

    def test_a_host_with_several_addresses_listens_on_all_on_one_port(self, opened, monkeypatch):
        self.resolve(monkeypatch, "127.0.0.1", "127.0.0.2", "127.0.0.1")
        endpoints = opened("tcp:several:0")
        assert [endpoint.address.host for endpoint in endpoints] == ["127.0.0.1", "127.0.0.2"]
        assert len({endpoint.address.port for endpoint in endpoints}) == 1

    def resolve(self, monkeypatch, *hosts):
        def getaddrinfo(host, port, **hints):
            kinds = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in hosts]
            return [(kind, socket.SOCK_STREAM, 6, "", (host, port)) for kind, host in zip(kinds, hosts, strict=True)]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def test_a_port_that_is_free_on_one_of_them_only_is_not_taken(self, opened, monkeypatch):
        # The first address gets a port of the kernel's choice; it is taken on the second one at first.
        self.resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
        real, taken = listeners._listening, []

        def listening(family, sockaddr, backlog):
            if sockaddr[0] == "127.0.0.2" and len(taken) < 3:
                taken.append(sockaddr[1])
                raise OSError(errno.EADDRINUSE, "Address already in use")
            return real(family, sockaddr, backlog)

        monkeypatch.setattr(listeners, "_listening", listening)
        assert len(opened("tcp:several:0")) == 2
        assert len(taken) == 3

    def test_but_the_search_ends(self, monkeypatch):
        self.resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
        real, tries = listeners._listening, []

        def listening(family, sockaddr, backlog):
            if sockaddr[0] == "127.0.0.2":
                tries.append(sockaddr)
                raise OSError(errno.EADDRINUSE, "Address already in use")
            return real(family, sockaddr, backlog)

        monkeypatch.setattr(listeners, "_listening", listening)
        with pytest.raises(AddressInUse):
            open_endpoints("tcp:several:0")
        assert len(tries) == 8

    def test_an_address_that_the_machine_has_not_is_passed_over_if_there_is_another(self, opened, monkeypatch):
        self.resolve(monkeypatch, "192.0.2.1", "127.0.0.1")
        assert [endpoint.address.host for endpoint in opened("tcp:several:0")] == ["127.0.0.1"]

    def test_and_an_error_if_there_is_none(self):
        with pytest.raises(ListenFailed, match=r"tcp:192\.0\.2\.1:0: this machine does not have that address"):
            open_endpoints("tcp:192.0.2.1:0")

    def test_a_port_that_is_taken_is_in_use(self, opened):
        [endpoint] = opened("tcp:127.0.0.1:0")
        with pytest.raises(AddressInUse, match=rf"cannot listen on {endpoint.address}: another program listens there"):
            open_endpoints(str(endpoint.address))

    def test_a_port_whose_connections_linger_can_be_taken_at_once(self, opened):
        [endpoint] = opened("tcp:127.0.0.1:0")
        with socket.create_connection(endpoint.address.sockaddr) as client:
            server, _ = endpoint.socket.accept()
            server.close()  # the first to close keeps the port in TIME_WAIT
            assert client.recv(1) == b""
        endpoint.close()
        opened(str(endpoint.address))

    def test_a_host_that_does_not_exist(self, monkeypatch):
        def getaddrinfo(*args, **hints):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with pytest.raises(ListenFailed, match=r"^cannot listen on tcp:nowhere:1: Name or service not known$"):
            open_endpoints("tcp:nowhere:1")

    def test_a_host_that_cannot_exist(self):
        host = "a" * 64 + ".x"
        with pytest.raises(ListenFailed, match=f"^cannot listen on tcp:{host}:1: no such host$"):
            open_endpoints(f"tcp:{host}:1")

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            (errno.EACCES, "ports below 1024 are root's"),
            (errno.EMFILE, "Too many open files"),
            (errno.EAFNOSUPPORT, "Address family not supported"),
        ],
    )
    def test_every_other_error_is_one_line(self, monkeypatch, code, message):
        def fail(family, sockaddr, backlog):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(listeners, "_listening", fail)
        with pytest.raises(ListenFailed, match=rf"^cannot listen on tcp:127\.0\.0\.1:80: {message}"):
            open_endpoints("tcp:127.0.0.1:80")

    def test_a_failure_half_way_closes_what_was_opened(self, monkeypatch):
        self.resolve(monkeypatch, "127.0.0.1", "192.0.2.1", "256.1.1.1")
        with pytest.raises(ListenFailed):
            open_endpoints("tcp:several:0")  # the fixture for descriptors says the rest

    def test_accepted_sockets_notice_a_machine_that_vanishes(self, opened):
        [endpoint] = opened("tcp:127.0.0.1:0")
        with socket.create_connection(endpoint.address.sockaddr):
            server, _ = endpoint.socket.accept()
            with server:
                assert server.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
                assert [server.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [60, 15, 4]


class TestTls:
    def test_speaks_tls(self, opened, authority, tls_keys):
        [endpoint] = opened(Listen(address="tls:127.0.0.1:0", **tls_keys))
        assert endpoint.transport == "tls"
        assert str(endpoint.address).startswith("tls:127.0.0.1:")
        answers = []

        def be_client():
            context = ssl.create_default_context(cafile=authority.file)
            sock = socket.create_connection(endpoint.address.sockaddr, timeout=10)
            with context.wrap_socket(sock, server_hostname="localhost") as wrapped:
                answers.append(wrapped.recv(10))

        thread = threading.Thread(target=be_client)
        thread.start()
        endpoint.socket.setblocking(True)
        server, _ = endpoint.socket.accept()
        with endpoint.ssl_context.wrap_socket(server, server_side=True) as wrapped:
            wrapped.send(b"hello")
        thread.join(10)
        assert answers == [b"hello"]

    def test_with_ca_clients_need_a_certificate(self, opened, authority, tls_keys):
        [endpoint] = opened(Listen(address="tls:127.0.0.1:0", tls_ca=authority.file, **tls_keys))
        assert endpoint.ssl_context.verify_mode is ssl.CERT_REQUIRED
        [endpoint] = opened(Listen(address="tls:127.0.0.1:0", **tls_keys))
        assert endpoint.ssl_context.verify_mode is ssl.CERT_NONE

    def test_a_bad_file_is_found_before_anything_listens(self, tls_keys):
        with pytest.raises(ConfigError, match="tls_ca /no/such/file: No such file"):
            open_endpoints(Listen(address="tls:127.0.0.1:0", tls_ca="/no/such/file", **tls_keys))


class TestMistakes:
    @pytest.mark.parametrize(
        ("keys", "mistaken"),
        [
            ({"address": "nonsense"}, ["address"]),
            ({"address": "/x", "mode": "rwx"}, ["mode"]),
            ({"address": "/x", "mode": "0660\n"}, ["mode"]),
            ({"address": "/x", "role": "boss"}, ["role"]),
            ({"address": "/x", "user": "no-such-user"}, ["user"]),
            ({"address": "/x", "group": "no-such-group"}, ["group"]),
            ({"address": "/x", "user": "4294967295"}, ["user"]),
            ({"address": "/x", "user": "9" * 5000}, ["user"]),
            ({"address": "/x", "user": "4294967294"}, []),
            ({"address": "/x", "tls_certificate": "c", "tls_key": "k"}, ["tls_certificate", "tls_key"]),
            ({"address": "tcp:h:1", "tls_ca": "a"}, ["tls_ca"]),
            ({"address": "tcp:h:1", "mode": "0600", "user": "root", "group": "root"}, ["mode", "user", "group"]),
            ({"address": "unix:@x", "mode": "0600"}, ["mode"]),
            ({"address": "fd:3", "user": "root"}, ["user"]),
            ({"address": "systemd:", "group": "root"}, ["group"]),
            ({"address": "tls:h:1"}, ["tls_certificate", "tls_key"]),
            ({"address": "tls:h:1", "tls_ca": "a", "tls_key": "k"}, ["tls_certificate"]),
            ({"address": "systemd:web", "tls_certificate": "c"}, ["tls_key"]),
            ({"address": "/x", "user": "root", "group": "0", "mode": "0666", "role": "admin"}, []),
            ({"address": "tls:h:1", "tls_certificate": "c", "tls_key": "k", "tls_ca": "a"}, []),
            ({"address": "fd:3"}, []),
        ],
    )
    def test_are_found_without_opening_anything(self, keys, mistaken):
        listen = Listen(**keys)
        assert [key for key, _ in mistakes_in(listen)] == mistaken
        if mistaken:
            with pytest.raises(ConfigError) as caught:
                open_endpoints(listen)
            assert "\n" not in str(caught.value)

    def test_are_told_with_the_address_and_the_key(self):
        with pytest.raises(
            ConfigError, match=r"^listen tcp:h:1: tls_key: tcp speaks no TLS; write tls: instead of tcp:$"
        ):
            open_endpoints(Listen(address="tcp:h:1", tls_key="k"))
        with pytest.raises(ConfigError, match=r"^listen unix:/x: mode: 'rw\\n' is no octal mode such as 0660$"):
            open_endpoints(Listen(address="/x", mode="rw\n"))

    def test_are_told_in_one_line(self):
        with pytest.raises(ConfigError) as caught:
            open_endpoints(Listen(address="/new\nline\x1b", role="boss"))
        assert str(caught.value).isprintable()


class TestInherited:
    def test_a_descriptor_by_number(self, opened):
        sock = listener()
        [endpoint] = opened(f"fd:{sock.detach()}")
        assert endpoint.transport == "tcp"
        assert endpoint.address.port > 0
        assert is_safe(endpoint)
        connect(endpoint)

    def test_a_descriptor_that_is_none(self):
        with pytest.raises(ListenFailed, match="descriptor 1000000 cannot be listened on: Bad file descriptor"):
            open_endpoints("fd:1000000")

    def test_a_descriptor_that_socket_activation_passed_too(self, opened):
        sock = listener()
        inherited = [("web", sock)]
        [endpoint] = opened(f"fd:{sock.fileno()}", inherited)
        assert endpoint.socket is sock
        assert inherited == []

    def test_by_name_and_all_the_others(self, opened):
        socks = [listener() for _ in range(4)]
        inherited = list(zip(["web", "api", "web", "unknown"], socks, strict=True))
        assert [endpoint.socket for endpoint in opened("systemd:web", inherited)] == [socks[0], socks[2]]
        assert [endpoint.socket for endpoint in opened("systemd:", inherited)] == [socks[1], socks[3]]
        assert inherited == []

    @pytest.mark.parametrize(("address", "named"), [("systemd:web", " named 'web'"), ("systemd:", "")])
    def test_none_is_an_error(self, address, named):
        message = f"^cannot listen on {address}: the service manager passed no socket{named}$"
        with pytest.raises(ListenFailed, match=message):
            open_endpoints(address)

    def test_a_unix_socket_is_never_unlinked(self, opened, tmp_path):
        sock = listener(socket.AF_UNIX, str(tmp_path / "s"))
        [endpoint] = opened("systemd:", [("x", sock)])
        assert endpoint.transport == "unix"
        assert str(endpoint.address) == f"unix:{tmp_path}/s"
        endpoint.close()
        assert os.listdir(tmp_path) == ["s"]

    def test_tls_over_an_inherited_tcp_socket(self, opened, tls_keys):
        [endpoint] = opened(Listen(address="systemd:", **tls_keys), [("x", listener())])
        assert endpoint.transport == endpoint.address.kind == "tls"
        assert endpoint.ssl_context is not None

    def test_no_tls_over_an_inherited_unix_socket(self, tls_keys, tmp_path):
        sock = listener(socket.AF_UNIX, str(tmp_path / "s"))
        with pytest.raises(ConfigError, match="listen systemd:: it has tls_ keys, but UNIX sockets speak no TLS"):
            open_endpoints(Listen(address="systemd:", **tls_keys), [("x", sock)])
        assert sock.fileno() == -1

import socket
import ssl
import threading

import pytest

from ctld.credentials import certificate_name
from ctld.errors import ConfigError
from ctld.tls import server_context
from tests.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server_files(authority):
    return authority.issue("server")


def client_context(authority, files=None, most=None):
    context = ssl.create_default_context(cafile=authority.file)
    if files:
        context.load_cert_chain(*files)
    if most:
        context.maximum_version = most
    return context


def shake(server, client):
    """Shake hands over a socketpair; return what the server knows of the client, or the client's error."""
    ours, theirs = socket.socketpair()
    ours.settimeout(10)
    theirs.settimeout(10)
    failures = []

    def be_client():
        try:
            with client.wrap_socket(theirs, server_hostname="localhost") as wrapped:
                wrapped.recv(1)  # in TLS 1.3 the server's objection comes after the handshake
        except OSError as error:
            failures.append(error)
            theirs.close()

    thread = threading.Thread(target=be_client)
    thread.start()
    try:
        with server.wrap_socket(ours, server_side=True) as wrapped:
            certificate = wrapped.getpeercert()
            wrapped.send(b"x")
            return certificate, wrapped.version()
    finally:
        ours.close()
        thread.join(10)
        theirs.close()


def test_an_anonymous_client_is_enough_without_ca(authority, server_files):
    certificate, version = shake(server_context(*server_files), client_context(authority))
    assert not certificate
    assert version == "TLSv1.3"


def test_tls_1_2_is_the_least(authority, server_files):
    most = ssl.TLSVersion.TLSv1_2
    assert shake(server_context(*server_files), client_context(authority, most=most))[1] == "TLSv1.2"
    assert server_context(*server_files).minimum_version == most
    assert server_context(*server_files).options & ssl.OP_NO_RENEGOTIATION


def test_a_client_s_certificate_is_known_by_name(authority, server_files):
    server = server_context(*server_files, authority.file)
    certificate, _ = shake(server, client_context(authority, authority.issue("alice")))
    assert certificate_name(certificate) == "alice"


def test_with_ca_a_client_without_certificate_is_refused(authority, server_files):
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(server_context(*server_files, authority.file), client_context(authority))


def test_with_ca_a_stranger_s_certificate_is_refused(authority, server_files, tmp_path):
    stranger = Authority(tmp_path, "stranger").issue("alice")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(server_context(*server_files, authority.file), client_context(authority, stranger))


class TestMistakes:
    def test_a_missing_file_is_named(self, authority, server_files, tmp_path):
        certificate, key = server_files
        missing = str(tmp_path / "no.pem")
        for arguments, option in (
            ((missing, key), "tls_certificate"),
            ((certificate, missing), "tls_key"),
            ((certificate, key, missing), "tls_ca"),
        ):
            with pytest.raises(ConfigError, match=rf"^{option} {missing}: No such file or directory$"):
                server_context(*arguments)

    def test_a_directory_is_no_certificate(self, server_files, tmp_path):
        with pytest.raises(ConfigError, match="Is a directory"):
            server_context(str(tmp_path), server_files[1])

    def test_garbage_is_no_certificate(self, server_files, tmp_path):
        (tmp_path / "garbage").write_text("garbage")
        garbage = str(tmp_path / "garbage")
        for arguments in ((garbage, server_files[1]), (server_files[0], garbage), (*server_files, garbage)):
            with pytest.raises(ConfigError, match="cannot be used: ") as caught:
                server_context(*arguments)
            assert "\n" not in str(caught.value)

    def test_a_key_of_another_certificate(self, authority, server_files):
        with pytest.raises(ConfigError, match="cannot be used: key values mismatch"):
            server_context(server_files[0], authority.issue("other")[1])

    def test_a_key_with_a_password_does_not_ask_on_the_terminal(self, authority):
        certificate, key = authority.issue("locked", password=b"secret")
        with pytest.raises(ConfigError, match=r"locked\.key\.pem needs a password"):
            server_context(certificate, key)

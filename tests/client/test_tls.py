"""ctld.client.tls: whom to trust and who we are, or an error that names the file."""

import os
import socket
import ssl
from pathlib import Path

import pytest

from ctld.client.tls import tls_context
from ctld.errors import ConfigError
from tests.certificates import Authority
from tests.client.listening import tls_server


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def assert_known_as_me(authority: Authority, context: ssl.SSLContext) -> None:
    """A server that wants to see a certificate is content."""
    with (
        tls_server(authority, client_certificates=True) as port,
        socket.create_connection(("127.0.0.1", port)) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        assert secure.recv(5) == b"hello"


def test_the_server_is_verified_by_default() -> None:
    context = tls_context(environ={})
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_files_come_from_the_arguments_or_the_environment(authority: Authority) -> None:
    certificate, key = authority.issue("me")
    assert_known_as_me(authority, tls_context(str(authority.file), certificate, key, environ={}))
    environ = {"CTLD_TLS_CA": str(authority.file), "CTLD_TLS_CERT": certificate, "CTLD_TLS_KEY": key}
    assert_known_as_me(authority, tls_context(environ=environ))
    assert len(tls_context(environ=environ).get_ca_certs()) == 1


def test_arguments_win(authority: Authority, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert tls_context(str(authority.file), environ={"CTLD_TLS_CA": missing}).get_ca_certs()
    with pytest.raises(ConfigError, match="missing: No such file"):
        tls_context(environ={"CTLD_TLS_CA": missing})


def test_a_certificate_and_its_key_in_one_file(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("me")
    both = tmp_path / "both.pem"
    both.write_text(Path(certificate).read_text() + Path(key).read_text())
    assert_known_as_me(authority, tls_context(str(authority.file), str(both), environ={}))


def test_what_cannot_be_used_is_named(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("me")
    _, other_key = authority.issue("other")
    junk = tmp_path / "junk.pem"
    junk.write_text("nothing")
    for arguments, text in [
        ((str(junk), None, None), "authorities of .*junk.pem: no certificate"),
        ((None, str(junk), None), "certificate of .*junk.pem: "),
        ((None, certificate, other_key), "certificate of .*me.pem and .*other.key.pem: key values mismatch"),
        ((None, certificate, str(tmp_path / "none")), "certificate of .* and .*none: No such file"),
        ((None, None, key), "the TLS key .* is of no use without its certificate"),
    ]:
        with pytest.raises(ConfigError, match=text) as caught:
            tls_context(*arguments, environ={})
        assert "\n" not in str(caught.value)


def test_an_encrypted_key_is_refused_instead_of_asking_on_the_terminal(authority: Authority) -> None:
    certificate, key = authority.issue("me", password=b"secret")
    with pytest.raises(ConfigError, match="the key is encrypted"):
        tls_context(certificate=certificate, key=key, environ={})


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ)  # the mapping itself is the default
    monkeypatch.setenv("CTLD_TLS_CA", "/nowhere.pem")
    with pytest.raises(ConfigError, match=r"/nowhere\.pem"):
        tls_context()

"""TLS for listeners: a server's certificate, and those of its clients where it asks for them."""

import os
import ssl

from ctld.errors import ConfigError

__all__ = ["server_context"]


def server_context(certificate: str, key: str, ca: str = "") -> ssl.SSLContext:
    """Make the context of a listener.

    Args:
        certificate: The file with the server's certificate, and those between it and the root.
        key: The file with its key, which needs no password.
        ca: The file with the certificates of those who vouch for clients.  With it every
            client must show a certificate; without it none is asked for one.

    Raises:
        ConfigError: A file is missing or unusable; the message names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    for option, path in (("tls_certificate", certificate), ("tls_key", key), ("tls_ca", ca)):
        if path:
            _check_readable(option, path)
    try:
        context.load_cert_chain(certificate, key, password=lambda: _no_password(key))
    except ssl.SSLError as error:
        raise ConfigError(f"tls_certificate {certificate} and tls_key {key} cannot be used: {_reason(error)}") from None
    if ca:
        try:
            context.load_verify_locations(cafile=ca)
        except ssl.SSLError as error:
            raise ConfigError(f"tls_ca {ca} cannot be used: {_reason(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(option: str, path: str) -> None:
    # OpenSSL says neither which of several files it means nor, at times, what is wrong with it.
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{option} {os.fspath(path)}: {error.strerror}") from None


def _no_password(key: str) -> str:
    # Without a callback OpenSSL would ask on the terminal and hold up the daemon's start.
    raise ConfigError(f"tls_key {key} needs a password: use a key without one, readable by the daemon alone")


def _reason(error: ssl.SSLError) -> str:
    return error.reason.replace("_", " ").lower() if error.reason else "not in PEM format"

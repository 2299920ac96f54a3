"""TLS for clients: which authority to trust, and who we are."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from ctld.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["tls_context"]


def tls_context(
    ca: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> ssl.SSLContext:
    """Return a context that verifies the server, and shows a certificate if there is one.

    Args:
        ca: The authorities to trust, a PEM file; `CTLD_TLS_CA`, else the system's.
        certificate: Our certificate, a PEM file; `CTLD_TLS_CERT`.
        key: Its key, where that is not in the same file; `CTLD_TLS_KEY`.
        environ: Where the three variables stand.

    Raises:
        ConfigError: A file cannot be used; the message names it.
    """
    ca = ca or environ.get("CTLD_TLS_CA") or None
    certificate = certificate or environ.get("CTLD_TLS_CERT") or None
    key = key or environ.get("CTLD_TLS_KEY") or None
    if key and not certificate:
        raise ConfigError(f"the TLS key {key} is of no use without its certificate")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot use the TLS authorities of {ca}: {_reason(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        try:
            # A daemon's client must never stop to ask for a passphrase on the terminal.
            context.load_cert_chain(certificate, key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            files = f"{certificate} and {key}" if key else certificate
            raise ConfigError(f"cannot use the TLS certificate of {files}: {_reason(error)}") from error
    return context


def _no_passphrase() -> str:
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is no PEM file").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)

"""The one table of dialects: to speak another language, the daemon needs a line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ctld.client_handler import ClientHandler
from ctld.dialects.dialect import Dialect
from ctld.dialects.fss_control.handler import FSS_CONTROL
from ctld.dialects.guest_agent.handler import GUEST_AGENT
from ctld.dialects.taskmaster.handler import TASKMASTER
from ctld.endpoint import Listen

__all__ = ["DEFAULT_DIALECT", "DIALECTS"]

_ALL: Final[tuple[Dialect[Any], ...]] = (Dialect(Listen, ClientHandler), TASKMASTER, FSS_CONTROL, GUEST_AGENT)

DIALECTS: Final[Mapping[str, Dialect[Any]]] = MappingProxyType({dialect.name: dialect for dialect in _ALL})
"""All dialects, by name."""

DEFAULT_DIALECT: Final = ClientHandler.dialect
"""The one of a `[[listen]]` table that does not say."""

"""What a controller answers: a type, the action, a status, and bytes."""

from dataclasses import dataclass

from ctld.dialects.fss_control.payload import LengthOf, MalformedPayload, decode_payload, encode_payload, words_of
from ctld.dialects.fss_control.statuses import BUSY, DONE, FAILURE, HEADER_NOT, PAYLOAD_NOT, SUCCESS, status_name

__all__ = ["Response", "decode_response", "encode_response", "message_text"]

_OUTCOMES = (BUSY, DONE, FAILURE, SUCCESS)

_MAX_MESSAGE = 4096  # characters: a sentence, and room for a path in it


@dataclass(frozen=True, slots=True)
class Response:
    """One answer.

    Attributes:
        type: `controller` or `init`: how an action went; `error`: it was not even tried.
        status: Its `F_` name.
        action: The action; empty where an error belongs to none.
        content: The payload.
    """

    type: str
    status: str
    action: str = ""
    content: bytes = b""


def encode_response(response: Response, *, length_of: LengthOf = "payload") -> bytes:
    """Return the payload of an answer."""
    action = [("action", response.action)] if response.action else []
    header = [("type", response.type), *action, ("status", response.status)]
    return encode_payload(header, response.content, length_of=length_of)


def decode_response(data: bytes, *, length_of: LengthOf = "payload") -> Response:
    """Understand the payload of an answer; any word is taken for an action.

    Raises:
        MalformedPayload: It is none.
    """
    payload = decode_payload(data, length_of=length_of)
    kind, action, status = (_one_word(words_of(payload, name), name) for name in ("type", "action", "status"))
    name = status_name(status)
    if name is None:
        raise MalformedPayload("the status is neither the name nor the number of one", HEADER_NOT)
    if kind == "error":
        if b"\0" in payload.content or not _is_text(payload.content):
            raise MalformedPayload("the message of an error is no text", PAYLOAD_NOT)
    elif kind not in ("controller", "init"):
        raise MalformedPayload("the type of a response is controller, init or error", HEADER_NOT)
    elif not action or name not in _OUTCOMES:
        raise MalformedPayload("the outcome of an action has the action, and a status for an outcome", HEADER_NOT)
    return Response(kind, name, action, payload.content)


def message_text(message: str) -> bytes:
    """Return a sentence as an answer may hold it: no NUL, no line that looks like the name of an object."""
    lines = message[:_MAX_MESSAGE].replace("\0", "?").split("\n")
    clean = "\n".join(f"{line.rstrip()}." if line.rstrip().endswith(":") else line for line in lines)
    return clean.encode(errors="replace")


def _one_word(words: tuple[str, ...] | None, name: str) -> str:
    """Return the word of a line; only the action may be missing."""
    if words is None and name == "action":
        return ""
    if words is None or len(words) != 1 or not words[0]:
        raise MalformedPayload(f"the header needs one {name}, of one word", HEADER_NOT)
    return words[0]


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True

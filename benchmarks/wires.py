"""The same two requests, ping and echo, as each wire carries them; pure."""

import json
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

__all__ = ["KINDS", "TEXT", "WIRES", "Kind", "Request", "Wire", "answer_of", "json_line", "request_of"]

Kind = Literal["ping", "echo"]
Wire = Literal["ndjson", "varlink", "http", "xmlrpc", "grpc"]

KINDS: tuple[Kind, ...] = ("ping", "echo")
WIRES: tuple[Wire, ...] = ("ndjson", "varlink", "http", "xmlrpc", "grpc")

# What is echoed: as long as the options of a real command are.
TEXT = "x" * 200


@dataclass(frozen=True, slots=True)
class Request:
    """What the load generator sends, and what has to come back."""

    framing: str  # how an answer ends: a wire of the load generator
    data: bytes
    expected: str


def request_of(wire: Wire, kind: Kind, command: str = "") -> Request:
    """Make the request of a kind; the native protocol may have another command for it."""
    expected = "pong" if kind == "ping" else TEXT
    match wire:
        case "ndjson":
            return Request("ndjson", json_line(command or kind, {"text": TEXT} if kind == "echo" else None), expected)
        case "varlink":
            call: dict[str, object] = {"method": f"org.example.bench.{kind.capitalize()}"}
            if kind == "echo":
                call["parameters"] = {"text": TEXT}
            return Request("varlink", _compact(call) + b"\0", expected)
        case "http":
            body = _compact({"text": TEXT}) if kind == "echo" else b""
            return Request("http", _post(f"/{kind}", body, "application/json"), expected)
        case "xmlrpc":
            return Request("http", _post("/RPC2", _method_call(kind), "text/xml"), expected)
        case "grpc":
            return Request("grpc", _grpc(f"/bench/{kind}", TEXT.encode() if kind == "echo" else b""), expected)


def answer_of(kind: Kind) -> str:
    """Return the line that answers a request of a kind, for a server that understands none."""
    return f'{{"status":true,"response":"{"pong" if kind == "ping" else TEXT}"}}'


def json_line(command: str, opts: dict[str, object] | None = None) -> bytes:
    """Make a request of the native protocol."""
    request: dict[str, object] = {"cmd": command}
    if opts is not None:
        request["opts"] = opts
    return _compact(request) + b"\n"


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _post(path: str, body: bytes, content_type: str) -> bytes:
    header = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        header += f"Content-Type: {content_type}\r\n"
    return f"{header}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _method_call(kind: Kind) -> bytes:
    argument = f"<param><value><string>{escape(TEXT)}</string></value></param>" if kind == "echo" else ""
    call = f"<methodCall><methodName>bench.{kind}</methodName><params>{argument}</params></methodCall>"
    return f'<?xml version="1.0"?>{call}'.encode()


def _grpc(path: str, message: bytes) -> bytes:
    """Make the two frames of a unary call, HEADERS and DATA, on stream 0: the sender numbers them."""
    headers = b"".join(
        [
            b"\x83\x86",  # :method POST and :scheme http, from the static table
            _literal(4, path),
            _literal(1, "localhost"),  # :authority
            _literal(31, "application/grpc"),  # content-type
            b"\x00\x02te\x08trailers",
        ]
    )
    data = b"\0" + len(message).to_bytes(4, "big") + message
    return _frame(1, 0x04, headers) + _frame(0, 0x01, data)


def _literal(index: int, value: str) -> bytes:
    """Name a header by the static table, and spell its value out (RFC 7541, 6.2.2)."""
    name = bytes([index]) if index < 15 else bytes([15, index - 15])
    return name + bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + bytes(4) + payload

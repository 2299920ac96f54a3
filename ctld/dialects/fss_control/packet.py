"""Simple Packet (FSS-000F): five bytes of head, and a payload."""

from typing import Final

from ctld.dialects.fss_control.statuses import PACKET_NOT, TOO_LARGE

__all__ = ["HEAD_SIZE", "MAX_PACKET", "MalformedPacket", "decode_head", "encode_packet"]

HEAD_SIZE: Final = 5

# A request is a line of words, and an answer a sentence; a page of each would be a lot.
MAX_PACKET: Final = 1024 * 1024

_BIG_ENDIAN: Final = 0x80
_RESERVED: Final = 0x3F
_MAX_SIZE: Final = 2**32 - 1


class MalformedPacket(ValueError):
    """Bytes that are no packet, or none that is taken.

    Attributes:
        status: What FSS calls that.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


def encode_packet(payload: bytes) -> bytes:
    """Return a packet with this payload, in the one encoding on which everybody agrees: big endian.

    Raises:
        MalformedPacket: No packet is that large.
    """
    size = HEAD_SIZE + len(payload)
    if size > _MAX_SIZE:
        raise MalformedPacket(f"a packet has at most {_MAX_SIZE} bytes", TOO_LARGE)
    return bytes([_BIG_ENDIAN]) + size.to_bytes(4, "big") + payload


def decode_head(head: bytes, *, max_size: int = MAX_PACKET, tolerant: bool = False) -> int:
    """Return the size of the whole packet that begins with these five bytes.

    Args:
        head: The bytes.
        max_size: The largest size that is taken.
        tolerant: Whether a size that cannot be is tried in the other byte order.

    Raises:
        MalformedPacket: It is none, or too large.
    """
    control = head[0]
    if control & _RESERVED:
        raise MalformedPacket(f"the control block is 0x{control:02x}: its low six bits are reserved", PACKET_NOT)
    big, little = int.from_bytes(head[1:HEAD_SIZE], "big"), int.from_bytes(head[1:HEAD_SIZE], "little")
    size, other = (big, little) if control & _BIG_ENDIAN else (little, big)
    if tolerant and not HEAD_SIZE <= size <= max_size and HEAD_SIZE <= other <= max_size:
        size = other
    if size < HEAD_SIZE:
        raise MalformedPacket(f"a packet of {size} bytes cannot be: its head alone has {HEAD_SIZE}", PACKET_NOT)
    if size > max_size:
        raise MalformedPacket(f"the packet has {size} bytes, and {max_size} are taken", TOO_LARGE)
    return size

"""FSS-000F Simple Packet (specification F1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.dialects.fss_control.packet import HEAD_SIZE, MAX_PACKET, MalformedPacket, decode_head, encode_packet


@given(st.binary(max_size=300))
def test_packets_come_back(payload):
    packet = encode_packet(payload)
    assert packet[0] == 0x80
    assert decode_head(packet[:HEAD_SIZE]) == len(packet)
    assert packet[HEAD_SIZE:] == payload


@pytest.mark.parametrize(
    ("head", "size"),
    [
        ("80000004d2", 1234),
        ("00d2040000", 1234),
        ("c0000004d2", 1234),  # binary payload: bytes anyway
        ("40d2040000", 1234),
        ("8000000005", 5),
        ("8000100000", MAX_PACKET),
    ],
)
def test_sizes_in_both_byte_orders(head, size):
    assert decode_head(bytes.fromhex(head)) == size


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("8000000004", "F_packet_not"),
        ("0000000000", "F_packet_not"),
        ("8000100001", "F_too_large"),
        ("80ffffffff", "F_too_large"),
        ("0000000005", "F_too_large"),  # strict: little endian, and so huge
        *((f"{0x80 | 1 << bit:02x}00000010", "F_packet_not") for bit in range(6)),
    ],
)
def test_what_is_no_packet(head, status):
    with pytest.raises(MalformedPacket) as caught:
        decode_head(bytes.fromhex(head))
    assert caught.value.status == status


def test_tolerance_tries_the_other_byte_order_only_where_the_strict_one_cannot_be():
    assert decode_head(bytes.fromhex("0000000010"), tolerant=True) == 16
    assert decode_head(bytes.fromhex("8010000000"), tolerant=True) == 16
    assert decode_head(bytes.fromhex("8000000100"), tolerant=True) == 256
    assert decode_head(bytes.fromhex("8000000001"), max_size=2**24, tolerant=True) == 2**24
    with pytest.raises(MalformedPacket):
        decode_head(bytes.fromhex("8000000000"), tolerant=True)


def test_the_limit_is_configurable():
    assert decode_head(bytes.fromhex("8000000040"), max_size=64) == 64
    with pytest.raises(MalformedPacket, match="65 bytes, and 64 are taken"):
        decode_head(bytes.fromhex("8000000041"), max_size=64)


def test_more_than_four_bytes_can_count_is_no_packet():
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**32

    with pytest.raises(MalformedPacket):
        encode_packet(Huge())

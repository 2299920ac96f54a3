from typing import get_args

from ctld.wire.codec import END_OF_INPUT, NEED_DATA, Codec, Pause
from ctld.wire.native import NativeCodec


def test_the_two_pauses_differ():
    assert NEED_DATA is not END_OF_INPUT
    assert set(get_args(Pause)) == {NEED_DATA, END_OF_INPUT}
    assert not isinstance(NEED_DATA, str | bytes | int)  # mistaken for an event or for data by nobody


def test_the_surface_is_six_methods_and_two_numbers():
    surface = {name for name in vars(Codec) if not name.startswith("_")}
    assert surface == {
        "event_size", "pending", "receive_data", "receive_eof", "next_event", "send", "data_to_send", "trailing_data"
    }  # fmt: skip


def test_the_native_codec_has_all_of_it():
    native: Codec = NativeCodec()
    assert native.pending == 0
    assert native.next_event() is NEED_DATA
    assert native.data_to_send() == native.trailing_data() == b""

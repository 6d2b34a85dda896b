"""A decoder of meter batches that reads one byte at a time, with the status that a message gets."""

from typing import Any

from schemas.codec import HEADER_BYTES, MESSAGE_BYTES_MAX, header

OK, CUT, OVERLONG, OUT_OF_RANGE, TOO_MANY, TRAILING, TOO_LARGE = range(7)
TIME_MAX = 1 << 53
READINGS_MAX = 10_000
INT32 = range(-(1 << 31), 1 << 31)


class _Bad(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


class _Bytes:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = HEADER_BYTES

    def number(self) -> int:
        result = 0
        for place in range(10):
            if self.at >= len(self.raw):
                raise _Bad(CUT)
            byte = self.raw[self.at]
            self.at += 1
            result |= (byte & 127) << (7 * place)
            if byte < 128:
                if (byte == 0 and place > 0) or result >> 64:
                    raise _Bad(OVERLONG)
                return (result >> 1) ^ -(result & 1)
        raise _Bad(OVERLONG)

    def text(self) -> bytes:
        length = self.number()
        if not 0 <= length <= len(self.raw) - self.at:
            raise _Bad(CUT)
        self.at += length
        return self.raw[self.at - length : self.at]


def _reading(data: _Bytes, base_ms: int) -> tuple[int, int, int, int]:
    point, offset_ms, value, quality = (data.number() for _ in range(4))
    if point not in INT32 or abs(offset_ms) > TIME_MAX or quality not in range(3):
        raise _Bad(OUT_OF_RANGE)
    return point, base_ms + offset_ms, value, quality


def _body(data: _Bytes) -> dict[str, Any]:
    if len(data.raw) > MESSAGE_BYTES_MAX:
        raise _Bad(TOO_LARGE)
    site, gateway, mode = data.text(), data.text(), data.number()
    if mode not in range(2):
        raise _Bad(OUT_OF_RANGE)
    base_ms = data.number()
    if abs(base_ms) > TIME_MAX:
        raise _Bad(OUT_OF_RANGE)
    readings: list[tuple[int, int, int, int]] = []
    while count := data.number():
        if count < 0:
            size = data.number()
            if size < 0 or count == -(1 << 63):
                raise _Bad(OUT_OF_RANGE)
            count = -count
        if count > (len(data.raw) - data.at) // 4:
            raise _Bad(CUT)
        if len(readings) + count > READINGS_MAX:
            raise _Bad(TOO_MANY)
        readings += [_reading(data, base_ms) for _ in range(count)]
    if data.at != len(data.raw):
        raise _Bad(TRAILING)
    return {"site": site, "gateway": gateway, "mode": mode, "base_ms": base_ms, "readings": readings}


def decode(raw: bytes) -> tuple[int, dict[str, Any]]:
    """(status, fields) of a message; readings are (point, time, value, quality). No fields where the status is not OK."""
    assert raw[:HEADER_BYTES] == header("meter_batch")
    try:
        return OK, _body(_Bytes(raw))
    except _Bad as bad:
        return bad.status, {}

"""Blocks of the tables that get millions of rows: readings, event_log, ledger, gauges, verdicts; no object per row."""

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas import decode, decode_rows
from schemas.errors import DecodeError
from sinks.clickhouse.messages import Messages
from sinks.clickhouse.native import TIME
from sinks.clickhouse.sorting import last_of_runs, order_of
from sinks.clickhouse.tables import Block, Lazy, Origin, blobs, enums, keyed, months_of, numbers, ranked, texts, usable

Unreadable = tuple[int, str]
"""Index of a message, and why it cannot be read."""

_CHUNK_READINGS: Final = 1 << 20
_TABLES: Final = {"ledger_rows": "ledger", "gauge_rows": "gauges", "verdict_rows": "verdicts"}
_RENAMED: Final = {"from_ms": "from_ts", "to_ms": "to_ts", "time_ms": "ts"}
_TYPES: Final = {"partition": "UInt32", "point": "UInt32", "sequence": "UInt64", "offset": "UInt64", "known_at": TIME}
_ENUMS: Final = {"how": "How", "cause": "Cause", "code": "Verdict"}


def event_log(parts: Sequence[Messages]) -> list[Block]:
    """Every message of some topics, as it is, in one block."""
    if not parts:
        return []
    topics, topic = ranked([part.topic for part in parts for _ in range(len(part))])
    keys = [b"" if key is None else key for part in parts for key in part.keys]
    nulls = [(k is None) + 2 * (v is None) for part in parts for k, v in zip(part.keys, part.values, strict=True)]
    data, starts, lengths = joined(parts)
    partitions, offsets, times = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("partitions", "offsets", "times_ms")
    )
    columns = [
        keyed("topic", topics, topic),
        numbers("partition", "UInt32", partitions),
        numbers("offset", "UInt64", offsets),
        numbers("timestamp", TIME, times),
        numbers("nulls", "UInt8", np.array(nulls, np.int64)),
        texts("key", keys),
        blobs("value", data, starts, lengths),
    ]

    def origin() -> Origin:
        places = (np.array(topics)[topic], partitions, offsets)
        return Origin(("topic", "partition", "offset"), places, months_of(times), "toYYYYMM(timestamp)")

    order = np.lexsort((offsets, partitions, topic))
    content = hashlib.sha256(b"".join(part.digest for part in parts)).digest()
    return [Block("event_log", columns, order, content, origin)]


def joined(parts: Sequence[Messages]) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Values of several topics as one byte array, with starts and lengths."""
    shifts = np.cumsum([0, *(len(part.data) for part in parts[:-1])])
    starts = [part.starts + shift for part, shift in zip(parts, shifts, strict=True)]
    data = parts[0].data if len(parts) == 1 else np.concatenate([part.data for part in parts])
    return data, np.concatenate(starts), np.concatenate([part.lengths for part in parts])


def readings(messages: Messages) -> list[Block]:
    """The readings of all meter batches that can be decoded, and the newest of each point."""
    chosen = np.array(messages.of("meter_batch"), np.int64)
    if not len(chosen):
        return []
    batches, points, times, values, qualities = _decode(messages, chosen)
    batch = np.repeat(np.arange(len(batches)), batches[:, decode.M.COUNT])
    record = chosen[batches[:, decode.M.RECORD]]
    keep = (points >= 0) & usable(times, messages.times_ms[record][batch])
    if not keep.all():
        batch, points, times, values, qualities = batch[keep], points[keep], times[keep], values[keep], qualities[keep]
    if not len(points):
        return []
    sites, site_of_batch = _texts(messages, batches, decode.M.SITE_AT)
    gateways, gateway_of_batch = _texts(messages, batches, decode.M.GATEWAY_AT)
    site = site_of_batch[batch]
    partition, offset = messages.partitions[record][batch], messages.offsets[record][batch]
    types = enums("meter_batch")
    columns = {
        "site": keyed("site", sites, site),
        "gateway": keyed("gateway", gateways, gateway_of_batch[batch]),
        "point": numbers("point", "UInt32", points),
        "ts": numbers("ts", TIME, times),
        "value": numbers("value", "Int64", values),
        "quality": numbers("quality", types["Quality"], qualities),
        "mode": numbers("mode", types["Mode"], batches[:, decode.M.MODE][batch]),
        "partition": numbers("partition", "UInt32", partition),
        "offset": numbers("offset", "UInt64", offset),
    }
    order = order_of(site, points, times)
    newest = order[last_of_runs(site[order], points[order])]

    def origin() -> Origin:
        return Origin(("partition", "offset"), (partition, offset), months_of(times), "toYYYYMM(ts)")

    latest = [column for name, column in columns.items() if name != "gateway"]
    return [
        Block("readings", list(columns.values()), order, messages.digest, origin),
        Block("latest_store", latest, newest, messages.digest, None),
    ]


def _decode(
    messages: Messages, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Batches that are whole (RECORD is an index into `chosen`) and their readings, one batch after the other."""
    spans = np.full((len(chosen), 4), -1, np.int32)
    spans[:, 2] = messages.starts[chosen]
    spans[:, 3] = messages.lengths[chosen]
    room = min(max(int(messages.lengths[chosen].sum()) // 4, decode.READINGS_MAX), _CHUNK_READINGS)
    magic, first, parts = decode.batch_header(), 0, []
    while first < len(chosen):
        scratch = decode.Columns.empty(min(len(chosen) - first, 65_536), room)
        columns = (scratch.points, scratch.times, scratch.values, scratch.qualities)
        first, count, rows = decode.decode_batches(
            messages.data, spans, first, len(chosen), magic, scratch.messages, *columns
        )
        assert count, "every record is a meter batch, and each has room"
        found = scratch.messages[:count]
        parts.append((found[found[:, decode.M.STATUS] == decode.Status.OK], *(column[:rows] for column in columns)))
    batches, points, times, values, qualities = (np.concatenate(part) for part in zip(*parts, strict=True))
    return batches, points, times, values, qualities


def _texts(messages: Messages, batches: NDArray[np.int64], column: int) -> tuple[list[bytes], NDArray[np.int64]]:
    """Distinct texts of the batches in the order of their bytes, and which of them each batch has."""
    data = messages.data
    return ranked([data[at : at + length].tobytes() for at, length in batches[:, [column, column + 1]].tolist()])


def matrix_rows(messages: Messages, contract: str) -> tuple[list[Block], list[Unreadable]]:
    """The rows of a contract of `schemas.decode_rows.CONTRACTS`, and the messages that say they keep it and do not."""
    unreadable: list[Unreadable] = []
    decoded: list[decode_rows.Rows] = []
    for i in messages.of(contract):
        value = messages.values[i]
        assert value is not None
        try:
            rows = decode_rows.read_rows(contract, value)
        except DecodeError as error:
            unreadable.append((i, f"{contract}: {error}"))
            continue
        if len(rows.matrix):
            decoded.append(rows)
    if not decoded:
        return [], unreadable
    fields = decode_rows.shape(contract).fields
    columns = {name: np.concatenate([rows.matrix[:, f] for rows in decoded]) for f, name in enumerate(fields)}
    lengths = np.array([len(rows.matrix) for rows in decoded])
    first_row = np.cumsum(lengths) - lengths
    first_site = np.cumsum([len(rows.sites) for rows in decoded]) - [len(rows.sites) for rows in decoded]
    sites, site_rank = ranked([site for rows in decoded for site in rows.sites])
    site = site_rank[columns["site"] + np.repeat(first_site, lengths)]
    topics, topic_rank = ranked([rows.topic for rows in decoded])
    topic = np.repeat(topic_rank, lengths)
    columns["partition"] = np.repeat([rows.partition for rows in decoded], lengths)
    columns["sequence"] = np.arange(lengths.sum()) + np.repeat([rows.sequence for rows in decoded] - first_row, lengths)
    columns["point"] &= 0xFFFFFFFF
    when, month = ("time_ms", "known_at") if contract == "verdict_rows" else ("to_ms", "to_ms")

    def origin() -> Origin:
        places = (np.array(topics)[topic], columns["partition"], columns["sequence"])
        month_sql = f"toYYYYMM({_RENAMED.get(month, month)})"
        return Origin(("topic", "partition", "sequence"), places, months_of(columns[month]), month_sql)

    encoded = [keyed("site", sites, site), keyed("topic", topics, topic), *_encoders(contract, columns)]
    block = Block(_TABLES[contract], encoded, order_of(site, columns["point"], columns[when]), messages.digest, origin)
    return [block], unreadable


def _encoders(contract: str, columns: dict[str, NDArray[np.int64]]) -> Sequence[Lazy]:
    found = []
    for name, values in columns.items():
        if name in _ENUMS:
            kind = enums(contract)[_ENUMS[name]]
        else:
            kind = TIME if name.endswith("_ms") else _TYPES.get(name, "Int64")
        if name != "site":
            found.append(numbers(_RENAMED.get(name, name), kind, values))
    return found

"""The truth of the job against the plainest program, and the input in every form."""

import io
import json

import fastavro
import numpy as np
import pytest

from tests.bench.peers.job import HOLD_MS, THRESHOLD, WINDOW_MS, make, truth
from tests.bench.peers.load import AVRO, SITES, closing, json_messages, rival_batches
from tests.bench.peers.programs.common import step
from tests.bench.peers.verify import compare

DATA = make(2_000, 48)


def rows():
    """Readings in the order of arrival."""
    return zip(DATA.point.tolist(), DATA.time_ms.tolist(), DATA.value.tolist(), strict=True)


def test_windows_are_those_of_a_dictionary():
    """The windows of numpy are those of a dictionary."""
    found: dict[tuple[int, int], list[int]] = {}
    for point, time_ms, value in rows():
        found.setdefault((point, time_ms // WINDOW_MS * WINDOW_MS), []).append(value)
    expected = sorted([p, w, len(v), sum(v), min(v), max(v)] for (p, w), v in found.items())
    assert truth(DATA).windows.tolist() == expected


def test_alerts_are_those_of_the_rivals_step():
    """The alerts of numpy are those of the step that rivals run."""
    states: dict[int, list[object]] = {}
    found = set()
    for point, time_ms, value in rows():
        since = step(states.setdefault(point, [-1, -1, False]), time_ms, value / 1000)
        if since is not None:
            found.add((point, since))
    assert found
    assert truth(DATA).alerts == found


def test_some_readings_are_late_and_some_behind():
    """Gateways are late in order, few readings are behind their point."""
    assert 0 < DATA.behind.sum() < len(DATA.point) / 200
    last: dict[int, int] = {}
    for (point, time_ms, _), behind in zip(rows(), DATA.behind.tolist(), strict=True):
        assert (time_ms < last.get(point, 0)) == behind
        last[point] = max(last.get(point, 0), time_ms)
    assert (np.diff(DATA.time_ms) < 0).any()


def test_both_forms_hold_the_same_readings():
    """JSON and Avro say the same."""
    expected = sorted(rows())
    flat = [json.loads(value) for _, _, value in json_messages(DATA)]
    assert sorted((r["point"], r["ts"], round(r["value"] * 1000)) for r in flat) == expected
    assert {r["site"] for r in flat} == set(SITES)
    batches = [fastavro.schemaless_reader(io.BytesIO(value), AVRO, None) for _, _, value in rival_batches(DATA)]
    inside = [reading for batch in batches for reading in batch["readings"]]  # type: ignore[index, call-overload, union-attr]
    assert sorted((r["point"], r["ts"], round(r["value"] * 1000)) for r in inside) == expected


def test_the_closing_readings_close_every_window():
    """The last readings are late enough, and raise nothing."""
    assert int(closing(DATA).time_ms.min()) - WINDOW_MS - HOLD_MS > DATA.end_ms
    assert (closing(DATA).value <= THRESHOLD).all()


@pytest.mark.parametrize("fault", ["lost", "wrong sum", "alert"])
def test_a_fault_is_found(fault):
    """A verdict that finds nothing wrong can find something wrong."""
    expected = truth(DATA)
    windows = {(w[0], w[1]): (w[2], float(w[3]), w[4], w[5]) for w in expected.windows.tolist()}
    alerts = set(expected.alerts)
    assert compare(expected, windows, alerts, 0).right
    key = next(iter(windows))
    if fault == "lost":
        del windows[key]
    elif fault == "wrong sum":
        windows[key] = (windows[key][0], windows[key][1] + 1, *windows[key][2:])
    else:
        alerts.pop()
    assert not compare(expected, windows, alerts, 0).right

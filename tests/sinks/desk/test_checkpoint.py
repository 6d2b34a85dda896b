"""A checkpoint and what comes after it give what the whole log gives; whatever else is in a file gives nothing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.desk.actions import OF_ALERT, Action
from sinks.desk.checkpoint import _ALERT, _SILENCE, freeze, load, save, thaw
from sinks.desk.projection import Alert, Entry, Flow, Projection, Silence
from sinks.desk.sites import Site
from tests.sinks.desk.world import NOON_MS, ROOM, alert_row, part_row, site_of
from tests.support.patience import patient

ROOMS = [ROOM, (*ROOM[:3], 2)]
STEPS = st.tuples(
    st.sampled_from(
        ["firing", "critical", "resolved", "part", "silence", "mute", "unsilence", "twice", *sorted(OF_ALERT)]
    ),
    st.integers(0, 1),
    st.integers(-1, 6),
)
PHOTO = b"\xff\xd8\xff" + bytes(10)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with tariffs, so that parts have a cost."""
    return site_of(tmp_path_factory.mktemp("checkpoint"))


def take(projection: Projection, steps: list[tuple[str, int, int]], light: int, first: int = 0) -> None:
    """Rows of alerts and of what is wasted, and actions of every kind, also before their alert and written twice."""
    for n, (step, room, refers) in enumerate(steps, first):
        key, at = ROOMS[room], NOON_MS + 1 + n // 2
        more: dict[str, Any] = {"event_id": f"e{n}", "time_ms": at}
        if step in ("firing", "critical", "resolved"):
            severity = "critical" if step == "critical" else "warning"
            state = "resolved" if step == "resolved" else "firing"
            projection.take_row(alert_row(key, state, at, severity, offset=n))
        elif step == "part":
            projection.take_part(part_row(key, light, NOON_MS + n * 900_000, 100 + n, final=n % 2 == 0))
        elif step in ("silence", "mute", "unsilence"):
            more |= {"refers": f"e{refers}"} if step == "unsilence" else {"matcher": "space=E1-1*, rule!=Other"}
            more |= {"hours": "mon-fri|holiday 22:00-06:00; any 12:00-13:00"} if step == "mute" else {}
            projection.take_action(Action(step, "liu", "east", comment="\u202e\x01=cmd", **more), n, at)
        elif step == "twice":
            projection.take_action(
                Action.on(key, "comment", "liu", comment="again", **more | {"event_id": f"e{refers}"}), n, at
            )
        else:
            more |= {"until_ms": at + 9_000_000} if step in ("snooze", "work_order") else {}
            more |= {"refers": f"e{refers}", "photo": PHOTO} if step.startswith("work_") else {}
            projection.take_action(Action.on(key, step, f"p{n}", assignee="wang", seen=refers, **more), n, at)


def state(projection: Projection) -> tuple[Any, ...]:
    """All that it holds."""
    return (
        projection.alerts, projection.silences, projection.early, projection.early_parts, projection.events,
        [one.status for one in projection.alerts.values()],
    )  # fmt: skip


@patient(max_examples=150)
@given(steps=st.lists(STEPS, max_size=24), cut=st.integers(0, 24))
def test_cutting_the_log_anywhere_changes_nothing(site: Site, steps: list[tuple[str, int, int]], cut: int) -> None:
    """Frozen at any place, written as JSON, thawed and gone on with: as if it had been read in one go."""
    light = numbers(site)["e-light"]
    whole = Projection({"east": site})
    take(whole, steps, light)
    first = Projection({"east": site})
    take(first, steps[:cut], light)
    second = thaw(json.loads(json.dumps(freeze(first))), {"east": site})
    assert second is not None
    assert state(second) == state(first)
    take(second, steps[cut:], light, len(steps[:cut]))
    assert state(second) == state(whole)


def test_every_field_is_in_it(site: Site) -> None:
    """A field that somebody adds is frozen, or made again; one that is forgotten would be lost at the next start."""
    alert, silence, entry = ({field.name for field in dataclasses.fields(kind)} for kind in (Alert, Silence, Entry))
    assert alert == {*_ALERT, "key", "wasted", "parts", "estimate", "history", "work_orders"}
    assert silence == {*_SILENCE, "matcher", "hours"}
    assert entry == {"known_at", "what", "severity", "action", "offset", "photo", "overlapped", "void"}
    projection = Projection({"east": site})
    projection.take_row(alert_row(ROOM, "firing", NOON_MS)).estimate = Flow("water", "mL", 7, None)
    thawed = thaw(json.loads(json.dumps(freeze(projection))), {"east": site})
    assert thawed is not None
    assert thawed.alerts == projection.alerts


def test_what_is_no_checkpoint_gives_nothing(site: Site, tmp_path: Path) -> None:
    """Cut at every byte, one bit turned in every byte, another release: none of it is believed, and nothing fails."""
    projection = Projection({"east": site})
    take(projection, [("firing", 0, 0), ("comment", 0, 0), ("part", 0, 0), ("silence", 0, 0)], numbers(site)["e-light"])
    file = tmp_path / "x.checkpoint"
    save(file, projection, {("alerts", 0): 7}, {"alerts": "id"})
    raw = file.read_bytes()
    known = load(file)
    assert known is not None
    assert (known.positions, known.topics) == ({("alerts", 0): 7}, {"alerts": "id"})
    for at in range(len(raw)):
        for wrong in (raw[:at], raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :]):
            file.write_bytes(wrong)
            assert load(file) is None
    assert thaw(known.content, {}) is None  # a site whose prices nobody knows now
    assert thaw({**known.content, "alerts": [[1, 2]]}, {"east": site}) is None


def test_a_disk_that_does_not_take_it_is_no_fault(site: Site, tmp_path: Path) -> None:
    """A folder that is not there: nothing is written and nothing is raised."""
    save(tmp_path / "absent" / "x", Projection({"east": site}), {}, {})
    assert not list(tmp_path.iterdir())


def numbers(site: Site) -> dict[str, int]:
    """Point → its number."""
    table = site.document.table("points")
    return {str(id_): int(str(number)) for id_, number in zip(table["id"], table["number"], strict=True)}

"""What is told when: routes, duty rosters, hours, escalation, reminders, lists, and how it is said."""

import itertools
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from schemas.model.check import check_folder
from sinks.desk.actions import Action, Key
from sinks.desk.projection import Alert, Projection
from sinks.desk.sites import Names, Site
from sinks.notify.clean import cut, plain, safe
from sinks.notify.outbox import Outbox
from sinks.notify.plan import Planner
from sinks.notify.records import Notice
from sinks.notify.routes import named_channels
from sinks.notify.wording import Wording
from tests.sinks.desk.world import NOON_MS, ROOM, alert_row, part_row, site_of
from tests.sinks.notify.world import ALL, PEOPLE
from tests.support.models import write_model

ZH = {**ALL, "language": "zh"}
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
ROSTERS = [
    {"id": "day", "person": "liu", "hours": "any 08:00-18:00"},
    {"id": "day", "person": "wang", "hours": "any 18:00-08:00"},
]


class Office:
    """A planner over one site, at a time that the test says."""

    def __init__(self, folder: Path, *routes: dict[str, Any], **more: Any) -> None:
        more = {"people": PEOPLE, "rosters": ROSTERS} | more
        self.site = site_of(folder, routes=list(routes), **more)
        self.sites: dict[str, Site] = {"east": self.site}
        self.projection = Projection(self.sites)
        self.outbox = Outbox(dict.fromkeys(("robot", "boss", "guard"), (20, "")))
        self.planner = Planner(self.projection, self.outbox.known, self.outbox.told)
        self.wording = Wording(self.projection, Names(self.sites, "zh"), "http://console")
        self.offset = -1

    def row(self, state: str, at_ms: int = NOON_MS, key: Key = ROOM, severity: str = "warning") -> Alert:
        return self.projection.take_row(alert_row(key, state, at_ms, severity))

    def waste(self, quantity: int, key: Key = ROOM, *, final: bool = False) -> None:
        points = self.site.document.table("points")
        number = points["number"][points["id"].index("e-light")]
        assert isinstance(number, int)
        self.projection.take_part(part_row(key, number, NOON_MS, quantity, final))

    def act(self, kind: str, at_ms: int, key: Key = ROOM, **more: Any) -> Action:
        self.offset += 1
        action = Action.on(key, kind, "liu", **more)
        self.projection.take_action(action, self.offset, at_ms)
        return action

    def look(self, at_ms: int, key: Key = ROOM) -> list[Notice]:
        notices, _ = self.planner.look(self.projection.alerts[key], at_ms)
        for notice in notices:
            self.outbox.take_notice(notice)
        return notices

    def steps(self, at_ms: int, key: Key = ROOM) -> list[tuple[str, str]]:
        return [(notice.target, notice.step.split(":")[0]) for notice in self.look(at_ms, key)]


def test_the_first_route_that_fits(tmp_path: Path) -> None:
    """By rank; a route that goes on lets later ones have it as well; severity, department, building, hours."""
    office = Office(
        tmp_path,
        {**ALL, "id": "west", "rank": 1, "matcher": "building=W1"},
        {**ALL, "id": "grave", "rank": 2, "severity": "critical"},
        {**ALL, "id": "night", "rank": 3, "hours": "any 22:00-06:00"},
        {**ALL, "id": "finance", "rank": 4, "matcher": "department=finance", "send_to": ["boss"], "further": "yes"},
        {**ALL, "id": "rest", "rank": 5, "send_to": ["robot@day", "guard@liu"]},
        {**ALL, "id": "never", "rank": 6},
    )  # fmt: skip
    office.row("firing")
    found = office.look(NOON_MS)

    assert [(notice.route, notice.target, notice.named) for notice in found] == [
        ("finance", "boss", ()), ("rest", "guard@liu", ("liu",)), ("rest", "robot@day", ("liu",)),
    ]  # fmt: skip
    assert office.look(NOON_MS + 1000) == []


def test_who_is_on_duty(tmp_path: Path) -> None:
    """By the hours of the roster, over midnight too; whose right has ended is not."""
    office = Office(
        tmp_path, {**ALL, "send_to": ["robot@day"]}, people=[PEOPLE[0], {**PEOPLE[1], "expires": "2026-01-06"}]
    )
    named = []
    for episode, at_ms in enumerate((NOON_MS, NOON_MS + 12 * HOUR_MS, NOON_MS + 36 * HOUR_MS), 1):
        key = (*ROOM[:3], episode)
        office.row("firing", at_ms, key)
        named += [notice.named for notice in office.look(at_ms, key)]

    assert named == [("liu",), ("wang",), ()]


def test_escalation_stops_when_somebody_takes_it(tmp_path: Path) -> None:
    """By its steps while nobody has; not after an acknowledgement; anew at a higher severity; the end goes to all."""
    office = Office(tmp_path, {**ALL, "escalate": ["10m>boss", "30m>guard@day"]})
    office.row("firing")
    found = [office.steps(NOON_MS), office.steps(NOON_MS + 9 * MINUTE_MS), office.steps(NOON_MS + 10 * MINUTE_MS)]
    office.act("acknowledge", NOON_MS + 11 * MINUTE_MS)
    found += [office.steps(NOON_MS + 31 * MINUTE_MS)]
    office.row("firing", NOON_MS + 40 * MINUTE_MS, severity="critical")
    found += [office.steps(NOON_MS + 40 * MINUTE_MS), office.steps(NOON_MS + 70 * MINUTE_MS)]
    office.row("resolved", NOON_MS + 80 * MINUTE_MS, severity="critical")
    found += [office.steps(NOON_MS + 80 * MINUTE_MS)]

    assert found == [
        [("robot", "firing")], [], [("boss", "escalate")], [], [("robot", "firing")],
        [("boss", "escalate"), ("guard@day", "escalate")], [("robot", "resolved"), ("boss", "resolved"), ("guard@day", "resolved")],
    ]  # fmt: skip


def test_what_somebody_has_taken_is_not_told(tmp_path: Path) -> None:
    """Whoever acknowledged an alert before it was told knows of it; a higher severity is told all the same."""
    office = Office(tmp_path, {**ALL, "escalate": ["10m>boss"]})
    office.row("firing")
    office.act("acknowledge", NOON_MS + 1)
    assert office.steps(NOON_MS + 2) == []
    assert office.steps(NOON_MS + HOUR_MS) == []
    office.row("firing", NOON_MS + HOUR_MS, severity="critical")
    assert office.steps(NOON_MS + HOUR_MS) == [("robot", "firing")]


def test_what_ended_in_silence_is_not_told(tmp_path: Path) -> None:
    """Neither its beginning nor its end; what still burns after the silence is told then."""
    office = Office(tmp_path, ALL)
    office.projection.take_action(
        Action("silence", "liu", matcher="rule=*", until_ms=NOON_MS + HOUR_MS, comment="x"), 0, NOON_MS - 1
    )
    other = (*ROOM[:3], 2)
    office.row("firing")
    office.row("firing", key=other)
    assert office.steps(NOON_MS) == office.steps(NOON_MS, other) == []
    office.row("resolved", NOON_MS + 60_000)
    assert office.steps(NOON_MS + 60_000) == []
    assert office.steps(NOON_MS + HOUR_MS) == []
    assert office.steps(NOON_MS + HOUR_MS, other) == [("robot", "firing")]


def test_reminders_are_data_of_the_rule(tmp_path: Path) -> None:
    """Every `remind` while it burns and nobody works on it; what was missed is told once."""
    office = Office(tmp_path, ALL)
    office.site.rules[ROOM[1]]["remind"] = "1h"
    office.row("firing")
    found = [office.steps(NOON_MS + n * HOUR_MS // 2) for n in range(4)] + [office.steps(NOON_MS + 5 * HOUR_MS)]
    office.act("start", NOON_MS + 5 * HOUR_MS)
    found += [office.steps(NOON_MS + 7 * HOUR_MS)]

    assert found == [[("robot", "firing")], [], [("robot", "remind")], [], [("robot", "remind")], []]


def test_what_people_did_is_told(tmp_path: Path) -> None:
    """Whoever gets an alert or an order is named; a late order once; a reopened alert as well."""
    office = Office(tmp_path, ZH)
    office.row("firing")
    office.look(NOON_MS)
    office.act("assign", NOON_MS + 1, assignee="wang", comment="=cmd()\n<b>please</b>")
    (notice,) = office.look(NOON_MS + 1)
    assert (notice.step.split(":")[0], notice.named) == ("assign", ("wang",))
    title, text = office.wording.write([notice], 2048)
    assert title.startswith("已指派给你 · ")
    assert "由 liu：'=cmd() ＜b＞please＜/b＞" in text
    order = office.act("work_order", NOON_MS + 2, assignee="wang", until_ms=NOON_MS + HOUR_MS)
    assert office.steps(NOON_MS + 2) == [("robot", "assign")]
    assert office.steps(NOON_MS + HOUR_MS + 1) == [("robot", "overdue")]
    assert office.steps(NOON_MS + HOUR_MS + 2) == []
    office.act("work_done", NOON_MS + 2 * HOUR_MS, refers=order.event_id, comment="done")
    office.row("resolved", NOON_MS + 2 * HOUR_MS + 1)
    assert office.steps(NOON_MS + 2 * HOUR_MS + 2) == [("robot", "resolved")]
    office.act("reopen", NOON_MS + 3 * HOUR_MS)
    assert office.steps(NOON_MS + 3 * HOUR_MS) == [("robot", "reopened")]


def test_a_gateway_is_one_message(tmp_path: Path) -> None:
    """Three hundred points of one gateway that fall silent are one group, another rule or gateway another."""
    points = [
        {
            "id": f"p{n}",
            "site": "east",
            "gateway": "gw-e",
            "space": "E1-101",
            "role": "light_power",
            "kind": "gauge",
            "unit": "W",
            "medium": "electricity",
            "interval_s": 60,
        }
        for n in range(300)
    ]
    office = Office(tmp_path, {**ZH, "every": "5m"}, points=points, meters=None, meter_install=None, balance=None)
    notices = []
    for n in range(300):
        key = ("east", "MeterSilent", f"p{n}", 1)
        office.row("firing", key=key)
        notices += office.look(NOON_MS, key)
    _, text = office.wording.write(notices, 2048)

    assert len({notice.group for notice in notices}) == 1
    assert "网关 gw-e" in text.split("\n")[0]
    assert "300 条告警" in text.split("\n")[0]
    assert len(text.encode()) <= 2048
    assert text.split("\n")[-2].startswith("另有 ")


def test_the_evening_list(tmp_path: Path) -> None:
    """What is small is not told at once but in the list, in walking order; then what the data have confirmed."""
    rooms = [{"id": f"E1-{n}", "building": "E1", "parent": "E1-1", "kind": "office"} for n in (2, 10, 9)]
    site_rooms = [
        {"id": "E1-1", "building": "E1", "kind": "floor"},
        {"id": "E1-101", "building": "E1", "parent": "E1-1", "kind": "office"},
        *rooms,
    ]
    spaces = [
        *site_rooms,
        {"id": "E1-102", "building": "E1", "kind": "office"},
        {"id": "E1-C1", "building": "E1", "kind": "corridor"},
        {"id": "W1-101", "building": "W1", "kind": "office"},
    ]
    office = Office(
        tmp_path,
        {**ZH, "send_to": ["guard"], "below_yuan": 5, "list_at": "17:45", "confirm_after": "60m"},
        spaces=spaces,
    )
    keys = [("east", "LightsInEmptyRoom", f"E1-{n}", 1) for n in (10, 9, 2)]
    for key in keys:
        office.row("firing", key=key)
        assert office.look(NOON_MS, key) == []
    office.row("firing")
    office.waste(6000)  # 5.70 yuan
    assert office.steps(NOON_MS) == [("guard", "firing")]
    list_ms = NOON_MS + 345 * MINUTE_MS
    assert office.planner.lists(list_ms - 1) == []
    listed = office.planner.lists(list_ms)
    for notice in listed:
        office.outbox.take_notice(notice)
    assert office.planner.lists(list_ms + 1000) == []
    shown = [notice for notice in listed if notice.channel]
    _, text = office.wording.write(shown, 2048)
    assert [line.split("：")[0].split(" ")[-1] for line in text.split("\n")[2:5]] == ["E1-2", "E1-9", "E1-10"]
    assert text.split("\n")[0].startswith("巡查清单：3 处")
    assert len({notice.group for notice in shown}) == 1
    office.row("resolved", list_ms + 60_000, keys[0])
    assert office.look(list_ms + 60_000, keys[0]) == []
    confirmed = [notice for notice in office.planner.lists(list_ms + HOUR_MS) if notice.channel]
    _, text = office.wording.write(confirmed, 2048)
    assert text.startswith("巡查结果：3 处中 1 处数据已确认\n仍未关闭：")
    assert "E1-10" not in text


def test_a_sensitive_room_shows_sums_only(tmp_path: Path) -> None:
    """Neither what was seen of people there, nor when."""
    office = Office(tmp_path, ALL)
    office.site.row("space", "E1-101")["sensitivity"] = "sensitive"  # type: ignore[index]
    office.row("firing")
    office.waste(1000)
    title, text = office.wording.write(office.look(NOON_MS), 2048)

    assert "empty room" not in title + text
    assert "01-04" not in text
    assert "1.00 kWh" in text
    assert "about 0.95 yuan" in text


def test_the_end_says_what_it_cost(tmp_path: Path) -> None:
    """How long, how much, how many yuan."""
    office = Office(tmp_path, ZH)
    office.row("firing")
    office.look(NOON_MS)
    office.waste(12_400, final=True)
    office.row("resolved", NOON_MS + 95 * MINUTE_MS)
    _, text = office.wording.write(office.look(NOON_MS + 96 * MINUTE_MS), 2048)

    assert text.split("\n")[0] == "已恢复 · E1 E1-1 办公室101：空房间灯亮"
    assert text.split("\n")[1] == "01-04 12:00–13:35，历时 1 小时 35 分，已浪费 12.40 kWh，约 11.78 元"


HOSTILE = {
    "html": "<b>x</b><script>alert(1)</script>",
    "mention": '<at user_id="all"></at> @all <@all> @所有人',
    "markdown": "[click](http://evil.example) **x** `y` # z ![](x)",
    "formula": "=cmd|' /C calc'!A0",
    "formula plus": "+1+1",
    "full-width formula": "＝1+1",
    "control": "a\x00b\x1b[31mc\rd\ne\x07\x7f\x85",
    "right to left": "abc\u202egnp.exe\u2066\u200f",
    "invisible": "a\u200bb\ufeffc\u2060\u00ad",
    "separators": "a\u2028b\u2029c",
    "tower": "Z" + "\u0301" * 200,
    "header": "x\r\nBcc: evil@example.org",
    "link": "https://evil.example/?q=<x>",
    "long": "灯" * 5000,
    "template": "{0} {alert} %s ${x}",
    "surrogate": "x\ud800y",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_text_is_shown_harmless(case: str, tmp_path: Path) -> None:
    """In the name of a room, of a rule, of a person, and in a comment; in a message, a digest and a list."""
    wrong = HOSTILE[case]
    office = Office(tmp_path, ALL)
    office.site.row("space", "E1-101")["name_en"] = wrong  # type: ignore[index]
    office.site.rules[ROOM[1]]["annotations"] = {one: {"summary": wrong, "action": wrong} for one in ("zh", "en")}
    other = ("east", wrong, wrong, 1)
    for key in (ROOM, other):
        office.row("firing", key=key)
    office.act("assign", NOON_MS, assignee=wrong, comment=wrong)
    notices = [*office.look(NOON_MS), *office.look(NOON_MS, other)]
    texts = list(
        itertools.chain.from_iterable(
            office.wording.write(part, 2048) for part in ([notices[0]], [notices[1]], notices)
        )
    )

    for text in texts:
        for line in text.split("\n"):
            assert not [char for char in line if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs")], line
            assert line[:1] not in "=+-＝＋－@" or not line
            assert not set(line.replace("http://console", "").replace("#", "")) & set("<>`[]*@|\\"), line
            assert "://" not in line.replace("http://console", "")
        assert len(text.encode()) <= 2048


def test_cut_keeps_characters_whole() -> None:
    """By bytes, never inside a character."""
    for most in range(3, 30):
        short = cut("灯光灯光灯光abc", most)
        assert len(short.encode()) <= most
        assert "�" not in short
    assert cut("abc", 3) == "abc"
    assert plain("a  b\tc") == "a b c"
    assert safe("") == ""


def test_which_channels_routes_name(tmp_path: Path) -> None:
    """Those of escalations too; what is behind an @ is a roster."""
    site = site_of(
        tmp_path, people=PEOPLE, routes=[{**ALL, "send_to": ["robot@liu", "mail"], "escalate": ["5m>boss@liu"]}]
    )

    assert named_channels([site.document]) == ["boss", "mail", "robot"]


FAULTS = {
    "a matcher that is none": {**ALL, "matcher": "building"},
    "hours that are none": {**ALL, "hours": "sometimes"},
    "a duration that is none": {**ALL, "wait": "soon"},
    "an escalation to nobody": {**ALL, "escalate": ["15m"]},
    "a roster that is not there": {**ALL, "send_to": ["robot@nobody"]},
    "a list without a sum": {**ALL, "list_at": "17:00"},
}


@pytest.mark.parametrize("case", FAULTS)
def test_wrong_routes_are_found_by_check(case: str, tmp_path: Path) -> None:
    """Before they are published, with file and line."""
    _, faults = check_folder(write_model(tmp_path, routes=[FAULTS[case]], people=PEOPLE))

    assert [fault.file for fault in faults] == ["routes.csv"], faults

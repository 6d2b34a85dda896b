"""What pages and exports show: nothing of sensitive rooms, no text that acts, alerts without ClickHouse."""

import csv
import datetime as dt
import io
import re
import time
import zoneinfo
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from confluent_kafka import Producer
from starlette.testclient import TestClient

from schemas.errors import ClickHouseUnavailable
from schemas.kafka import client_config
from schemas.topics import REJECTED, topic_name
from sinks.console import charts, texts
from sinks.console.access import Role
from sinks.console.behind import SHOWN_FROM_MS, Behind, Lag
from sinks.console.formatting import cell, clean
from sinks.console.history import Fresh, History
from sinks.desk.actions import PHOTO_BYTES_MAX
from sinks.desk.projection import Silence
from tests.sinks.console.world import HOSTILE, PASSWORD, World, key_of, until

HOUR_MS = 3_600_000
pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]

PAGES = ("/", "/buildings", "/floor?site=east&building=E1&floor=E1-1", "/space?site=east&id=E1-101", "/usage", "/waste",
         "/vehicles", "/system", "/silences", "/audit", "/users", "/account", "/api", "/point?site=east&id=e-light",
         "/point?site=east&id=e-people", "/point?site=east&id=e-main", "/space?site=east&id=E1-1")  # fmt: skip


@pytest.fixture
def admin(world: World) -> TestClient:
    """Somebody who sees everything."""
    return world.enter(Role.ADMIN)


@pytest.mark.parametrize("language", texts.LANGUAGES)
@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_in_both_languages(world: World, admin: TestClient, page: str, language: str) -> None:
    """With figures, without a fault, and with every text of the catalogue."""
    world.post(admin, "/language", language=language, back="/")
    answer = admin.get(page)

    assert answer.status_code == 200, answer.text
    assert f'lang="{"zh-CN" if language == "zh" else "en"}"' in answer.text
    assert "notice bad" not in answer.text, answer.text


@pytest.mark.parametrize("span", ["hour", "day", "week", "month", "year", "years"])
def test_points_and_rooms_from_minutes_to_years(admin: TestClient, span: str) -> None:
    """A chart for every span; doubtful readings are marked."""
    point = admin.get(f"/point?site=east&id=e-light&span={span}").text
    assert '<svg class="chart"' in point
    assert 'class="doubt"' in point
    for page in (f"/point?site=east&id=e-sub&span={span}", f"/space?site=east&id=E1-101&span={span}"):
        text = admin.get(page).text
        assert 'class="bar"' in text
        assert 'class="bar doubtful"' in text


def test_a_span_of_an_address_is_drawn_and_marked(admin: TestClient) -> None:
    """What `ganzhi replay what-if` links to: the readings around an episode, the episode as a band."""
    now = time.time()
    start, end = (
        dt.datetime.fromtimestamp(now - ago_s, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for ago_s in (3600, 1800)
    )
    for page in ("/space?site=east&id=E1-101", "/point?site=east&id=e-light"):
        text = admin.get(f"{page}&from={start}&to={end}").text
        assert '<svg class="chart"' in text
        assert 'class="band"' in text
        assert 'aria-current="page"' not in text.partition('class="tabs"')[2].partition("</nav>")[0]
        assert 'class="band"' not in admin.get(page).text
    usage = admin.get(f"/point?site=east&id=e-sub&from={start}&to={end}").text
    assert 'class="bar"' in usage


@pytest.mark.parametrize("ends", [("x", "y"), ("2026-03-02T00:00", "2026-03-01T00:00"), ("0001-01-01", "9999-12-31")])
def test_a_span_that_is_none_is_told(admin: TestClient, ends: tuple[str, str]) -> None:
    """Not a page of another time."""
    for page in ("/space?site=east&id=E1-101", "/point?site=east&id=e-light"):
        assert admin.get(f"{page}&from={ends[0]}&to={ends[1]}").status_code == 400


def test_hostile_names_are_text(world: World, admin: TestClient) -> None:
    """HTML and script from the model, a comment, an assignee, a search; no direction character; nothing runs."""
    row = world.alert(episode=60)
    world.post(admin, "/actions", do="comment", comment=HOSTILE.replace("\u202e", ""), key=key_of(row))
    world.post(admin, "/actions", do="assign", assignee="<b>x</b>", key=key_of(row))
    for page in (*PAGES, f"/alert?{key_of(row)}", "/?text=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE"):
        text = admin.get(page).text
        for wrong in ("<script>window", "<img src=x", "<b>x</b>", "<script>alert", "\u202e"):
            assert wrong not in text, page
        assert len(re.findall(r"<script", text)) == 1
    shown = unescape(admin.get(f"/alert?{key_of(row)}").text)
    assert "<script>window.pwned=1</script>" in shown
    assert "�gnp.exe" in shown


def test_errors_are_text_too(admin: TestClient) -> None:
    """What an address holds does not come back as HTML."""
    for page in (
        "/alert?site=%3Cscript%3E",
        "/space?site=%3Cscript%3E&id=1",
        "/%3Cscript%3E",
        "/floor?site=east&building=%3Cscript%3E",
    ):
        answer = admin.get(page)
        assert answer.status_code == 404
        assert "<script>" not in answer.text.replace('<script src="/static/console.js" defer></script>', "")


def test_exports_hold_no_formulas(world: World, admin: TestClient) -> None:
    """A cell that a spreadsheet would run has a quote before it; numbers stay numbers."""
    world.alert(subject="=cmd|'/c calc'!A1", episode=61)
    alerts = admin.get("/export/alerts.csv")
    lines = list(csv.DictReader(io.StringIO(alerts.content.decode("utf-8-sig"))))
    usage = admin.get("/export/usage.csv?by=building&medium=electricity&site=east")
    rows = list(csv.DictReader(io.StringIO(usage.content.decode("utf-8-sig"))))

    assert alerts.headers["content-type"].startswith("text/csv")
    assert "attachment" in alerts.headers["content-disposition"]
    assert any(line["subject"] == "'=cmd|'/c calc'!A1" for line in lines)
    assert not any(str(value).startswith(("=", "@", "\t")) for line in lines for value in line.values())
    assert [row["building"] for row in rows] == ["E1"]
    assert float(rows[0]["yesterday"]) > 0
    readings = admin.get("/export/point.csv?site=east&id=e-light&span=hour").content.decode("utf-8-sig").splitlines()
    assert readings[0] == "time,value,unit,quality,mode"
    assert ",85,W," in readings[1]


@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "\0=1", "＝1", "＋1", "－1", "＠a", "\u202e=1", " =1"]
)
def test_cells_that_begin_like_formulas(text: str) -> None:
    """OWASP's list, its full-width forms, and those behind what cannot be seen."""
    assert cell(text).startswith("'") or cell(text).startswith("�")
    assert cell("Room 1") == "Room 1"
    assert cell(-1) == "-1"


def test_clean_texts_stay() -> None:
    """Chinese, accents and emoji are text; what turns or hides text is not."""
    for text in ("会议室 201", "Büro", "a\nb", "🙂"):
        assert clean(text) == text
    assert clean("a\u202eb\u200bc\x00d\x1b[0m\u2028") == "a�b�c�d�[0m�"


def test_sensitive_room_shows_sums_only(world: World, admin: TestClient) -> None:
    """Neither its tile, nor its page, nor a point, nor the API tells whether somebody is there; its usage is shown."""
    floor = admin.get("/floor?site=east&building=E1&floor=E1-1").text
    tile = floor.split("E1-102")[1].split("</li>")[0]
    assert 'class="chip' not in tile
    page = admin.get("/space?site=east&id=E1-102").text
    assert "e-people2" not in page and "e-light2" not in page
    assert 'class="bar"' in page
    for point in ("e-people2", "e-light2"):
        assert admin.get(f"/point?site=east&id={point}").status_code == 403
        assert admin.get(f"/export/point.csv?site=east&id={point}").status_code == 403
        assert admin.get(f"/api/v1/readings?site=east&point={point}&from_ms=0&to_ms=99").status_code == 404
    assert admin.get("/point?site=east&id=e-sub2").status_code == 200
    listed = {one["id"] for one in admin.get("/api/v1/points?site=east").json()}
    assert "e-sub2" in listed and not listed & {"e-people2", "e-light2"}
    row = world.alert(subject="E1-102", episode=62)
    assert "<figure>" not in admin.get(f"/alert?{key_of(row)}").text


def test_evidence_has_readings_and_thresholds(world: World, admin: TestClient) -> None:
    """The charts of an alert: each role of the rule, with its limit drawn in and the episode marked."""
    row = world.alert(episode=63)
    page = admin.get(f"/alert?{key_of(row)}").text

    assert page.count("<figure>") == 2
    assert page.count('class="band"') >= 2
    assert unescape(page).count("> 50 W") >= 1
    assert 'class="line s0"' in page


@pytest.mark.parametrize(
    ("per_hour", "flow", "zh", "en"),
    [
        (18_000, "18.00 L/h", "，每天约 ¥1.77", ", about ¥1.77 a day"),  # 0.432 m3 a day at 4.10 yuan
        (900_000, "900.0 L/h", "，每天约 ¥88.56", ", about ¥88.56 a day"),
    ],
)
def test_an_alert_says_what_runs_away(
    world: World, admin: TestClient, per_hour: int, flow: str, zh: str, en: str
) -> None:
    """In L/h, however much it is, and in yuan a day; nothing of a sensitive room, or of a rule that estimates nothing."""
    row = world.alert(rule="Tap", episode=per_hour, estimate=per_hour)
    for language, cost, name in (("zh", zh, "估计流量"), ("en", en, "Estimated flow")):
        world.post(admin, "/language", language=language, back="/")
        page = admin.get(f"/alert?{key_of(row)}").text
        assert f"<dt>{name}</dt><dd>{flow}{cost}</dd>" in page
        assert name not in admin.get(f"/alert?{key_of(world.alert(episode=65, estimate=per_hour))}").text
    hidden = world.alert(rule="Tap", subject="E1-102", episode=per_hour, estimate=per_hour)
    assert "L/h" not in admin.get(f"/alert?{key_of(hidden)}").text


def test_the_scale_of_a_register_has_no_number_twice() -> None:
    """Of one that has counted for years: a chart of an hour lies within one kWh."""
    span = charts.Span(0, HOUR_MS, zoneinfo.ZoneInfo("Asia/Shanghai"))
    for low, high in ((41_653.1, 41_653.4), (0.0, 7.0), (999.98, 1000.04), (-0.002, 0.002)):
        chart = str(charts.lines(span, [charts.Line("x", [(0, low), (HOUR_MS, high)])], "kWh", label="x"))
        said = re.findall(r'<text class="scale"[^>]*>([^<]*) kWh<', chart)
        assert len(said) == len(set(said)) >= 3, (low, high, said)


def test_places_of_others_are_not_there(world: World) -> None:
    """A viewer of E1 finds nothing of W1: pages, lists, API; and nothing that stands in no building."""
    row = world.alert(site="west", subject="W1-101", episode=64)
    viewer = world.enter(Role.VIEWER)

    assert viewer.get(f"/alert?{key_of(row)}").status_code == 404
    assert viewer.get("/space?site=west&id=W1-101").status_code == 404
    assert viewer.get("/point?site=west&id=w-light").status_code == 404
    assert viewer.get("/floor?site=west&building=W1").status_code == 404
    for page in ("/", "/buildings", "/usage", "/waste", "/vehicles", "/system"):
        assert "W1-101" not in viewer.get(page).text
    assert "V1" not in viewer.get("/vehicles").text
    assert "S2" not in viewer.get("/waste").text
    assert "V1" in world.enter(Role.ADMIN).get("/vehicles").text


def test_alerts_live_without_clickhouse(world: World, admin: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """ClickHouse is away: what burns is shown and acted on; pages of history say plainly what is missing."""

    class Away(History):
        def rows(self, statement: str, **values: object) -> Any:
            raise ClickHouseUnavailable("nobody answers")

    row = world.alert(episode=65)
    monkeypatch.setattr(world.parts.history, "rows", Away(world.settings.clickhouse).rows)
    monkeypatch.setattr(world.parts.fresh, "_kept", {})
    monkeypatch.setattr(world.parts.fresh, "_seconds", 0.0)
    monkeypatch.setattr(world.parts.hourly, "_kept", {})
    assert "/alert?" in admin.get("/").text
    assert "notice bad" not in admin.get("/").text
    assert world.post(admin, "/actions", do="acknowledge", key=key_of(row)).status_code == 303
    for page in (
        f"/alert?{key_of(row)}",
        "/floor?site=east&building=E1&floor=E1-1",
        "/usage",
        "/point?site=east&id=e-light",
    ):
        answer = admin.get(page)
        assert answer.status_code == 200
        assert "notice bad" in answer.text
    assert admin.get("/api/v1/readings?site=east&point=e-light&from_ms=0&to_ms=99").status_code == 503


def test_how_far_history_is_behind(world: World) -> None:
    """No sink runs: the time is that of the oldest message that waits, however many come after it."""
    behind = Behind(world.settings)
    behind.look()
    before = behind.lag
    producer = Producer(client_config(world.settings.kafka))
    producer.produce(topic_name(world.settings.kafka, REJECTED), b"{}")
    producer.flush(10)
    behind.look()
    assert before is not None
    assert behind.lag is not None
    assert behind.lag.messages > before.messages > 0
    assert behind.lag.age_ms > before.age_ms > 0


def test_pages_of_history_say_how_far_it_is_behind(
    world: World, admin: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where numbers rest on it, in both languages, and not on Now."""
    monkeypatch.setattr(Behind, "shown", Lag(1234, 3 * SHOWN_FROM_MS))
    for language, word in (("zh", "落后 3 分钟（1,234 条消息）"), ("en", "3 min behind (1,234 messages)")):
        world.post(admin, "/language", language=language, back="/")
        for page in ("/usage", "/waste", "/floor?site=east&building=E1&floor=E1-1", "/space?site=east&id=E1-101"):
            assert word in admin.get(page).text.split("data-behind", 1)[1][:200]
        assert "data-behind" not in admin.get("/").text


@pytest.mark.parametrize(("messages", "age_ms"), [(0, 0), (9_999_999, SHOWN_FROM_MS - 1), (1, SHOWN_FROM_MS)])
def test_a_sink_that_keeps_up_is_not_told(world: World, messages: int, age_ms: int) -> None:
    """Nothing is said of a block on its way, nor where nobody knows; of one message that waits for a minute it is."""
    behind = Behind(world.settings)
    assert behind.shown is None
    behind.lag = Lag(messages, age_ms)
    assert (behind.shown is not None) == (age_ms == SHOWN_FROM_MS)


def test_an_alert_that_counts_nothing_says_which_one_does(world: World, admin: TestClient) -> None:
    """A rule that steps up another has no quantity of its own: its page leads to the quantity and cost of the other."""
    known = world.parts.live.places.sites["east"].document.table("points")
    light = known["number"][known["id"].index("e-light")]
    assert isinstance(light, int)
    counts = world.alert(rule="TapRunning", episode=1071)
    steps_up = world.alert(rule="TapRunningLong", episode=1071, severity="critical")
    elsewhere = world.alert(rule="TapRunning", subject="E1-102", episode=1071)
    for row in (counts, elsewhere):
        part = {name: row[name] for name in ("site", "rule", "subject", "episode")}
        more = {"point": light, "from_ms": row["started_at"], "quantity": 1500, "final": False}
        assert world.parts.live.desk.projection.take_part(part | more) is not None

    page = admin.get(f"/alert?{key_of(steps_up)}").text

    told = page.split("Quantity and cost are counted", 1)[1].split("</p>")[0]
    assert "1.50 kWh" in told
    assert f'href="/alert?{key_of(counts)}"' in unescape(told)
    assert key_of(elsewhere) not in unescape(told)
    assert "counted by another" not in admin.get(f"/alert?{key_of(counts)}").text
    listed = unescape(admin.get("/?rule=TapRunningLong").text)
    row = next(one for one in listed.split("<tr") if f"/alert?{key_of(steps_up)}" in one)
    assert f'href="/alert?{key_of(counts)}"' in row
    assert "Counted by:" in row
    assert key_of(elsewhere) not in row


def own_silence(silences: Mapping[str, Silence]) -> Silence | None:
    """The silence of the test's own rule."""
    rule = {"rule": frozenset({"SilencedHere"}), "subject": frozenset({"W1-101"}), "site": frozenset({"west"})}
    return next((one for one in list(silences.values()) if one.matcher.holds(rule) and not one.ended_at), None)


def test_silence_and_its_end(world: World, admin: TestClient) -> None:
    """A silenced alert is not among the open ones but among the quiet ones, until the silence is taken back."""
    # A rule of its own: other tests of this console silence the same room, and such a silence goes on for hours.
    row = world.alert(site="west", rule="SilencedHere", subject="W1-101", episode=66)
    key = f"episode={row['episode']}"
    silences = world.parts.live.desk.silences
    assert key in admin.get("/").text
    assert world.post(admin, "/actions", do="silence", hours="2", reason="known", key=key_of(row)).status_code == 303
    # The answer waits two seconds for the action to be read back, and no longer: a busy machine takes more.
    until(lambda: own_silence(silences) is not None)
    assert key not in admin.get("/?page=1").text
    assert key in admin.get("/?show=quiet").text
    silence = own_silence(silences)
    assert silence is not None
    assert world.post(world.enter(Role.LIAISON), "/silences/end", silence=silence.id).status_code == 403
    assert world.post(admin, "/silences/end", silence=silence.id).status_code == 303
    until(lambda: silence.ended_at)
    assert key in admin.get("/").text


PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


def test_a_work_order_closes_when_the_data_confirm_it(world: World, admin: TestClient) -> None:
    """Given, told done with a photo that comes back as a picture, and confirmed only once the alert has resolved."""
    row = world.alert(rule="Ordered", episode=80)
    alert = world.parts.live.desk.alerts["east", "Ordered", "E1-101", 80]
    page = f"/alert?{key_of(row)}"
    given = world.post(
        admin, "/actions", do="work_order", order_to="wang", order_hours="4", order_note="change it", key=key_of(row)
    )
    assert given.status_code == 303, given.text
    until(lambda: alert.work_orders)
    (order,) = alert.work_orders.values()
    assert (order.assignee, order.note) == ("wang", "change it")
    session = world.parts.store.session(admin.cookies[world.parts.cookie], 3600, 3600)
    assert session is not None
    fields = {"csrf": session.csrf, "do": "work_done", "refers": order.id, "key": key_of(row)}
    for wrong in (b"<script>alert(1)</script>", PNG + bytes(PHOTO_BYTES_MAX)):
        refused = admin.post("/actions", data=fields, files={"photo": ("a.png", wrong, "image/png")})
        assert refused.status_code in (400, 413), refused.text
    assert admin.post("/actions", data=fields, files={"photo": ("a.svg", PNG, "image/svg+xml")}).status_code == 303
    until(lambda: order.done_by or next(iter(alert.work_orders.values())).done_by)
    assert 'class="tag done"' in admin.get(page).text
    (entry,) = [one for one in alert.history if one.photo]
    photo = admin.get(f"/alert/photo?{key_of(row)}&offset={entry.offset}")
    assert (photo.content, photo.headers["content-type"]) == (PNG, "image/png")
    assert "sandbox" in photo.headers["content-security-policy"]
    assert photo.headers["x-content-type-options"] == "nosniff"
    world.alert("resolved", rule="Ordered", episode=80)
    assert 'class="tag confirmed"' in admin.get(page).text


def test_address_of_a_message_leads_to_the_page(world: World, admin: TestClient) -> None:
    """`/alert/SITE/RULE/SUBJECT/EPISODE`, with escaped parts; also from before the sign-in."""
    answer = admin.get("/alert/east/LightsInEmptyRoom/a%2Fb%20c/7")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/alert?site=east&rule=LightsInEmptyRoom&subject=a%2Fb+c&episode=7"
    assert admin.get("/alert/east/x").status_code == 404
    stranger = TestClient(world.client.app, base_url="http://localhost:18080", follow_redirects=False)
    assert stranger.get("/alert/east/x/y/1").headers["location"] == "/sign-in?to=%2Falert%2Feast%2Fx%2Fy%2F1"


def test_newest_first(world: World, admin: TestClient) -> None:
    """What came last is on top, whatever its severity, when that is asked for; ended ones among all."""
    world.alert(episode=70, severity="critical")
    world.alert(episode=71, severity="info")
    world.alert("resolved", episode=71, severity="info")
    text = admin.get("/?show=all&sort=newest").text

    assert text.index("episode=71") < text.index("episode=70")
    assert "episode=71" not in admin.get("/?sort=newest").text


def test_wrong_actions_do_nothing(world: World, admin: TestClient) -> None:
    """Said plainly, with a status that says whose fault it is."""
    row = world.alert(episode=67)
    for fields in (
        {"do": "explode"}, {"do": "assign"}, {"do": "comment"}, {"do": "silence", "hours": "0"}, {"do": "silence", "hours": "9" * 9},
        {"do": "snooze", "hours": "-1"}, {"do": "comment", "comment": "a\x1bb"},
    ):  # fmt: skip
        assert world.post(admin, "/actions", key=key_of(row), **fields).status_code == 400, fields
    assert world.post(admin, "/actions", do="acknowledge").status_code == 400
    assert world.post(admin, "/actions", do="acknowledge", key="site=x").status_code == 404
    alert = world.parts.live.desk.alerts[row["site"], row["rule"], row["subject"], 67]
    assert not [one for one in alert.history if one.action]


def test_feed_is_well_formed(world: World) -> None:
    """Atom that a parser reads, whatever the names are."""
    world.alert(episode=68)
    _, secret = world.parts.store.add_token("admin", "reader", "feed")
    root = ET.fromstring(  # noqa: S314  our own feed
        TestClient(world.client.app, base_url="http://localhost:18080").get(f"/feeds/{secret}.atom").text
    )
    titles = [one.text or "" for one in root.iter("{http://www.w3.org/2005/Atom}title")]

    assert any("<script>window.pwned" in one and "\u202e" not in one for one in titles)
    assert all(one.text for one in root.iter("{http://www.w3.org/2005/Atom}id"))


def test_openapi_names_every_operation(admin: TestClient) -> None:
    """The document is whole and says what the API serves."""
    described = admin.get("/api/openapi.json").json()
    assert described["openapi"].startswith("3.")
    assert set(described["paths"]) == {"/me", "/alerts", "/buildings", "/spaces", "/points", "/readings", "/usage"}
    usage = admin.get("/api/v1/usage?site=east&medium=electricity&by=department").json()
    assert {one["id"] for one in usage} == {"finance", "budget"}
    assert admin.get("/api/v1/usage?site=east&medium=electricity&by=planet").status_code == 422


def test_catalogue_is_whole() -> None:
    """Both languages of every text, and a text for every name that code and templates use."""
    folder = Path(texts.__file__).parent
    known = texts.catalogue()
    used = set()
    for path in folder.rglob("*.html"):
        used |= set(re.findall(r"\bt\([\"']([^\"']+)[\"']\s*[,)]", path.read_text("utf-8")))
    for path in folder.rglob("*.py"):
        used |= set(re.findall(r"\.say\(\s*\"([^\"]+)\"\s*[,)]", path.read_text("utf-8")))

    assert not used - set(known)
    assert all(row["zh"] and row["en"] for row in known.values())
    assert all(
        set(re.findall(r"{(\w+)}", row["zh"])) == set(re.findall(r"{(\w+)}", row["en"])) for row in known.values()
    )


def test_answers_are_kept_for_a_moment_only() -> None:
    """Many pages ask once; later ones ask again."""
    asked = []
    fresh = Fresh(0.05)
    for _ in range(3):
        fresh.get("key", lambda: asked.append(1))
    assert len(asked) == 1
    time.sleep(0.06)
    fresh.get("key", lambda: asked.append(1))
    assert len(asked) == 2


def test_mute_hours_are_made_by_a_form(world: World) -> None:
    """For a building that one may speak for, on days and hours, below a severity; told to nobody, and ended again."""
    given = world.parts.store.add_user("zhou", Role.OPERATOR, ["E1"])
    assert given
    world.parts.store.set_password("zhou", PASSWORD)
    operator = world.enter("zhou")
    form = {"rule": "", "most": "warning", "day": ["mon", "holiday"], "from": "22:00", "to": "06:00", "ends": "7"}
    page = operator.get("/silences").text
    assert 'value="east/E1"' in page
    assert 'value="east/"' not in page  # the whole site is for who sees all of it
    for place in ("east/", "west/W1", "east/E1, rule=x", "*"):
        assert world.post(operator, "/mutes", place=place, **form).status_code == 403
    for wrong in ({"day": []}, {"from": "soon"}, {"most": "all"}, {"ends": "9999"}, {"rule": "No*"}):
        answer = world.post(operator, "/mutes", place="east/E1", comment="<b>kept</b>", **(form | wrong))
        assert answer.status_code == 400
        assert "&lt;b&gt;kept&lt;/b&gt;" in answer.text
    assert world.post(world.enter(Role.LIAISON), "/mutes", place="east/E1", **form).status_code == 403

    assert world.post(operator, "/mutes", place="east/E1", comment="night shift", **form).status_code == 303

    def made() -> Silence | None:
        known = list(world.parts.live.desk.silences.values())
        return next((one for one in known if one.by == "zhou" and not one.ended_at), None)

    until(made)
    mute = made()
    assert mute is not None
    assert (mute.kind, mute.site, str(mute.hours)) == ("mute", "east", "mon|holiday 22:00-06:00")
    assert str(mute.matcher) == "site=east, building=E1, severity=info|warning"
    assert mute.until_ms > time.time_ns() // 1_000_000 + 6 * 86_400_000
    listed = operator.get("/silences").text
    assert "night shift" in listed
    assert "mon|holiday 22:00-06:00" in listed
    assert world.post(operator, "/silences/end", silence=mute.id).status_code == 303
    until(lambda: made() is None)
    world.parts.store.remove_user("zhou")

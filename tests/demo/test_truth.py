"""The truth that alerts are measured against: told a second time from the spans of the world, by sweeping over them."""

from collections.abc import Callable

import pytest

from ganzhi.demo import faults
from ganzhi.demo.layout import zones
from ganzhi.demo.people import fixtures
from ganzhi.demo.points import BRIGHT, POWERED, SWITCHED, UNSEEN
from ganzhi.demo.simulator import STEP_S
from ganzhi.demo.spans import Spans
from ganzhi.demo.truth import ANOMALIES, RULES, Alert, Episode
from ganzhi.demo.world import LANDSCAPE_S
from tests.demo.conftest import DAYS, MINUTES, Run

Moments = list[int]


def _changes(spans: Spans) -> dict[int, list[tuple[int, int]]]:
    """(time, change) of each column, in order of time."""
    found: dict[int, list[tuple[int, int]]] = {}
    columns = (getattr(spans, name).tolist() for name in ("column", "start_s", "end_s", "amount"))
    for column, start_s, end_s, amount in zip(*columns, strict=True):
        found.setdefault(column, []).extend([(start_s, amount), (end_s, -amount)])
    return {column: sorted(changes) for column, changes in found.items()}


def _levels(changes: dict[int, list[tuple[int, int]]], columns: set[int], moments: Moments) -> list[int]:
    """Level of some columns together at each moment, by a sweep over the beginnings and ends of their spans."""
    merged = sorted(change for column in columns for change in changes.get(column, []))
    found, at, level = [], 0, 0
    for moment in moments:
        while at < len(merged) and merged[at][0] <= moment:
            level += merged[at][1]
            at += 1
        found.append(level)
    return found


def _episodes(moments: Moments, holds: Callable[[int], bool], rule: str) -> list[tuple[int, int]]:
    """(since, fires) of every spell that is long enough, in a loop over the moments; ends need `keep_s` without it."""
    found, since, firing, clear_since = [], -1, False, -1
    for i, moment in enumerate(moments):
        if holds(i):
            since, clear_since = (moment if since < 0 else since), -1
            if not firing and moment - since >= RULES[rule].for_s:
                firing = True
                found.append((since, moment))
        else:
            since, clear_since = -1, (moment if clear_since < 0 else clear_since)
            if firing and moment - clear_since >= RULES[rule].keep_s:
                firing = False
    return found


def _by_hand(run: Run) -> set[tuple[str, str, int, int]]:
    """Episodes of lights, air conditioning and fixtures."""
    world, start_s = run.simulator.world, run.simulator.start_s
    channels = world.channels(DAYS)
    crowd, lights, cooling, water = (_changes(getattr(channels, name)) for name in ("people", "light", "air", "water"))
    moments = list(range(start_s + STEP_S, start_s + MINUTES * 60 + 1, STEP_S))
    found = set()
    few = (*SWITCHED, *POWERED, *BRIGHT)
    taps = {i: {k for k, fixture in enumerate(fixtures()) if fixture.zone == i} for i in range(len(zones()))}
    for i, zone in enumerate(zones()):
        if "emergency" in zone.tags or zone.id in UNSEEN:
            continue
        people = _levels(crowd, {i}, moments)
        light = _levels(lights, {i}, moments)
        outside = [not LANDSCAPE_S[0] <= moment % 86_400 < LANDSCAPE_S[1] for moment in moments]
        conditions: dict[str, Callable[[int], bool]] = {}
        if zone.kind in ("office", "meeting", "hall", "canteen", "archive") and zone.id not in few:
            conditions["LightsInEmptyRoom"] = lambda k, on=light, who=people: on[k] > 0 and who[k] == 0
        if zone.kind in ("corridor", "tea_room", "toilet"):
            conditions["CorridorLightsNobody"] = lambda k, on=light, who=people: on[k] > 0 and who[k] == 0
        if zone.kind == "landscape":
            conditions["LandscapeOutsideSchedule"] = lambda k, on=light, out=outside: on[k] > 0 and out[k]
        if zone.kind in ("office", "meeting", "hall", "canteen"):
            air = _levels(cooling, {i}, moments)
            conditions["AcInEmptyRoom"] = lambda k, on=air, who=people: on[k] > 0 and who[k] == 0
        if taps[i]:
            flow = _levels(water, taps[i], moments)
            conditions["TapRunningNobody"] = lambda k, runs=flow, who=people: runs[k] > 300 and who[k] == 0
        for rule, holds in conditions.items():
            found |= {(rule, zone.id, since, fires) for since, fires in _episodes(moments, holds, rule)}
    return found


def test_truth_is_the_state_of_the_world(run: Run) -> None:
    """Episodes of five rules over all rooms equal those of a slow sweep: none is missing, none is there by accident."""
    epoch_ms = run.simulator.world.epoch_ms
    rules = {
        "LightsInEmptyRoom",
        "CorridorLightsNobody",
        "LandscapeOutsideSchedule",
        "AcInEmptyRoom",
        "TapRunningNobody",
    }
    kept = {
        (one.rule, one.subject, (one.started_ms - epoch_ms) // 1000, (one.fires_ms - epoch_ms) // 1000)
        for one in run.simulator.truth.episodes
        if one.rule in rules
    }
    assert kept == _by_hand(run)


def test_what_was_injected_is_what_goes_wrong(run: Run) -> None:
    """Every subject that is told wrong is one that the script names, or a point or floor of what it names."""
    named = {fault.where for fault in faults.SCRIPT}
    rooms = {name.split(".")[0] for name in named}
    parts = {
        "S-A-03-other": {"S-A-03"}, "M-A-F05": {"A-F05.A1", "A-F05.A2"}, "C-0704": {"C-F07"},
        "M-B-0309": {"B-0309.energy"}, "A-F03": {"A-F03.water", "A.water"}, "B": {"B.water"},
        "M-B-F04": {"B-F04.A1", "B-F04.A2", "B.electricity"}, "C-F04": {"C-F04.A1"},
        "B-0213": {"B-0213.energy", "B-F02.A1", "B.T1.import"}, "C-fan": {"C-fan.energy", "C.T1.import"},
        "C-boiler": {"C", "C.power"}, "C-lift1r": {"C-lift1"}, "C-0305": {"C-F03"}, "S-C-07-kitchen": {"S-C-07"},
        "G-pump1": {"G-pump1.water"}, "B-0503": {"B-0503.water", "B-F05.water"}, "B-0504": {"B-F05"},
        "G-tank": {"G-tank.water", "G.water"}, "G-tower": {"G-tower.water"},
    }  # fmt: skip
    subjects = {one.subject for one in run.simulator.truth.episodes}
    assert subjects <= rooms.union(*parts.values(), {"B.U1", "G.U2"})
    told = {name for name in rooms if subjects & ({name} | parts.get(name, set()))}
    assert rooms - told == {"gw-b-07", "G", "A-0214"}, "lights of A-0214 are told after dark"
    assert "G.U2" in subjects


def test_rules_that_look_back_are_due_where_the_faults_reach(run: Run) -> None:
    """A leak shows at its floor and its building, a load that stays on at its room, floor and supply, and nowhere else."""
    told: dict[str, set[str]] = {}
    for one in run.simulator.truth.episodes:
        if one.rule in run.simulator.truth.past.subjects:
            told.setdefault(one.rule, set()).add(one.subject)
    assert told == {
        "ContinuousFlow": {"A-F03.water", "A.water", "B.water", "B-0503.water", "B-F05.water", "G.water"},
        "CisternRuns": {"B-0503"},
        "WaterBurst": {"B-0504"},
        "TankNeverFull": {"G-tank.water"},
        "CoolingMakeUpLong": {"G-tower.water"},
        "IrrigationOutsideSchedule": {"G-pump1.water"},
        "NightFlowRising": {"A-F03.water", "A.water", "B.water", "B-0503.water", "B-F05.water", "G.water"},
        "WaterRemainder": {"B.water"},
        "MeterStuck": {"B-F04.A1", "B-F04.A2"},
        "PartsExceedWhole": {"B-F04.A1", "B-F04.A2"},
        "UnmeteredRemainder": {"C-F04.A1", "B.electricity"},
        "BaseLoadCreep": {"B-0213.energy", "B-F02.A1", "B.T1.import", "C-fan.energy", "C.T1.import"},
        "AlwaysOn": {"C-fan"},
        "UnusualLoad": {"C"},
        "OverQuotaPace": {"B"},
        "DemandOverLimit": {"C.power"},
        "PvUnderperforming": {"B-pv1"},
        "PvBelowExpected": {"B-pv1"},
        "RegenerationLow": {"C-lift1"},
    }


@pytest.mark.parametrize("days", [0, 2])
def test_a_past_that_is_too_short_says_nothing(days: int) -> None:
    """Without a past there is no episode of a rule that looks at one; two days tell of days and not of nights."""
    simulator = Run(31, days).simulator
    told = {one.rule for one in simulator.truth.episodes if one.rule in simulator.truth.past.subjects}
    of_days = {"ContinuousFlow", "TankNeverFull"} if days else set()
    assert told == {"DemandOverLimit"} | of_days


@pytest.mark.parametrize("anomaly", ANOMALIES)
def test_each_anomaly_is_due_within_eighty_minutes(run: Run, anomaly: str) -> None:
    """Each kind of anomaly is due within 80 simulated minutes, which are 80 seconds."""
    due = run.simulator.truth.expected(run.simulator.start_ms + 80 * 60_000)
    assert any(RULES[one.rule].anomaly == anomaly for one in due)


def test_the_first_alert_is_due_within_ten_minutes(run: Run) -> None:
    """At sixty times the speed of life the first alert comes within ten seconds of it."""
    assert run.simulator.truth.expected(run.simulator.start_ms + 600_000)


def test_faults_that_end_are_over(run: Run) -> None:
    """An episode ends after its fault, and one whose fault goes on does not."""
    truth = {(one.rule, one.subject): one for one in run.simulator.truth.episodes}
    midnight_ms = run.simulator.world.epoch_ms + DAYS * 86_400_000
    for fault in faults.SCRIPT:
        if fault.effect not in ("light", "ac") or fault.where in BRIGHT:
            continue
        (episode,) = [
            one
            for (rule, subject), one in truth.items()
            if subject == fault.where and RULES[rule].anomaly in (faults.LIGHTS, faults.AIR)
        ]
        if fault.end_s < faults.OPEN_S:
            assert episode.ended_ms is not None
            assert 0 < episode.ended_ms - midnight_ms - fault.end_s * 1000 <= 130_000
        else:
            assert episode.ended_ms is None


def _alert(episode: Episode) -> Alert:
    return Alert(episode.rule, episode.subject, episode.started_ms)


def test_score_of_perfect_alerts(run: Run) -> None:
    """Alerts that tell every episode: all found, none false, none missed."""
    truth = run.simulator.truth
    scores = truth.score([_alert(one) for one in truth.episodes], run.simulator.now_ms)
    for name, score in scores.items():
        assert (score.found, score.false, score.missed) == (score.injected, 0, ()), name
        assert score.injected > 0 or name == "other"


def test_score_tells_what_is_missing_and_what_is_wrong(run: Run) -> None:
    """An alert that is left out is missed; one for another room, or begun too late, or of another rule, is false."""
    truth = run.simulator.truth
    lights = [one for one in truth.episodes if one.rule == "LightsInEmptyRoom"]
    over = next(one for one in lights if one.ended_ms is not None)
    alerts = [_alert(one) for one in truth.episodes if one is not over]
    assert over.ended_ms is not None
    wrong = [
        Alert("LightsInEmptyRoom", "A-0310", over.started_ms),
        Alert("LightsInEmptyRoom", over.subject, over.ended_ms + 60_000),
        Alert("MeterChangedWithoutRecord", "A-0310", over.started_ms),
    ]
    scores = truth.score(alerts + wrong, run.simulator.now_ms)
    assert scores[faults.LIGHTS].missed == (over,)
    assert scores[faults.LIGHTS].found == scores[faults.LIGHTS].injected - 1
    assert scores[faults.LIGHTS].wrong == tuple(wrong[:2])
    assert scores["other"].wrong == (wrong[2],)
    assert scores[faults.WATER].missed == ()


def test_emergency_lighting_is_on_for_nobody_and_no_fault(run: Run) -> None:
    """Its circuits are lit all the time with nobody in them: what the exemption keeps from being told."""
    emergency = [i for i, zone in enumerate(zones()) if "emergency" in zone.tags]
    channels = run.simulator.world.channels(DAYS)
    moments = [run.simulator.start_s + 10, run.simulator.now_ms // 1000 - run.simulator.world.epoch_ms // 1000]
    lights, crowd = _changes(channels.light), _changes(channels.people)
    for i in emergency:
        assert _levels(lights, {i}, moments) == [1, 1]
        assert _levels(crowd, {i}, moments) == [0, 0]
    told = {one.subject for one in run.simulator.truth.episodes}
    assert not told & {zones()[i].id for i in emergency}

"""The simulated world: the same for a seed, without a seam, and with meters that lose nothing."""

import hashlib

import numpy as np
import pytest

from ganzhi.demo import faults
from ganzhi.demo.layout import floor_id, zone_index, zones
from ganzhi.demo.metering import SIGN_MW
from ganzhi.demo.points import points
from ganzhi.demo.registers import ROLLOVER_METER, WH, registers
from ganzhi.demo.world import DAY_S, FLOORS
from tests.demo.conftest import DAYS, Run

QUARTER_MS = 900_000


def _digest(run: Run) -> str:
    found = hashlib.sha256()
    for batch in run.batches:
        for array in (batch.times_ms, batch.points, batch.values):
            found.update(np.ascontiguousarray(array).tobytes())
    for event in [*run.events, *(event for step in run.steps for event in step.events)]:
        found.update(repr(sorted(event.value.items())).encode())
    return found.hexdigest()


def test_a_seed_is_a_world() -> None:
    """The same seed gives the same readings and events; another seed gives others."""
    one, same, other = Run(12, 3), Run(12, 3), Run(12, 3, seed=8)
    assert _digest(one) == _digest(same)
    assert _digest(one) != _digest(other)


def test_readings_of_a_point_are_in_order(run: Run) -> None:
    """No point goes back in time, whether its gateway is late or not, and none has two readings of one time."""
    batches = run.batches
    times = np.concatenate([batch.times_ms for batch in batches])
    which = np.concatenate([batch.points for batch in batches])
    order = np.argsort(which, kind="stable")
    same = np.diff(which[order]) == 0
    assert (np.diff(times[order])[same] > 0).all()


def test_a_gateway_sends_its_own_points(run: Run) -> None:
    """Site and gateway of a batch are those of its points."""
    for batch in run.batches[:: max(1, len(run.batches) // 500)]:
        owners = {(points()[i].site, points()[i].gateway) for i in np.unique(batch.points)}
        assert owners == {(batch.site, batch.gateway)}


def test_registers_only_grow(run: Run) -> None:
    """Every register grows, but for the one that begins again from 0."""
    batches = run.batches
    times = np.concatenate([batch.times_ms for batch in batches])
    which = np.concatenate([batch.points for batch in batches])
    values = np.concatenate([batch.values for batch in batches])
    counts = np.asarray([point.kind == "register" for point in points()])[which]
    order = np.lexsort((times[counts], which[counts]))
    which, values = which[counts][order], values[counts][order]
    falls = np.flatnonzero((np.diff(values) < 0) & (np.diff(which) == 0))
    assert {points()[which[i]].id for i in falls} <= {one.id for one in registers() if one.meter == ROLLOVER_METER}


def test_a_register_begins_again_within_thirty_days(run: Run) -> None:
    """In the full history one register passes its last digit, and its usage does not notice."""
    simulator = run.simulator
    begin_ms, end_ms = simulator.world.epoch_ms, simulator.start_ms
    rolled = [
        one for one in registers() if simulator.register_at(one.id, end_ms) < simulator.register_at(one.id, begin_ms)
    ]
    assert [one.meter for one in rolled] == [ROLLOVER_METER]
    span = 10 ** rolled[0].digits * rolled[0].step
    shown = simulator.register_at(rolled[0].id, end_ms) - simulator.register_at(rolled[0].id, begin_ms)
    assert simulator.usage(rolled[0].id, begin_ms, end_ms) == shown + span > 0
    assert simulator.register_at(rolled[0].id, begin_ms) < span * 95 // 100 < span


def test_no_register_exceeds_its_rating(run: Run) -> None:
    """Usage between two readings stays below twice the rating, so that no reading is impossible."""
    for register in registers():
        times, values = run.series(register.id)
        span = 10**register.digits * register.step
        used = np.diff(values) % span
        unit = 1000 if register.step == 1 else 1_000_000  # Wh of a kWh, mL of a m3
        most = 2 * register.rated * unit * np.diff(times) / 3_600_000
        assert (used <= most + register.step).all(), register.id


def test_live_goes_on_where_history_ends(run: Run) -> None:
    """The first live reading of a register continues its history, with at most its rating of a minute between."""
    begin_ms = run.simulator.start_ms
    for register in registers()[::7]:
        if faults.behind_s(register.meter):
            continue
        times, values = run.series(register.id)
        last = int(np.flatnonzero(times == begin_ms)[0])
        assert values[last] == run.simulator.register_at(register.id, begin_ms)
        assert times[last + 1] == begin_ms + 60_000
        assert (
            0 <= values[last + 1] - values[last] <= register.rated * 1000 * max(register.step, 1) / 60 + register.step
        )


def test_register_at_is_what_was_sent(run: Run) -> None:
    """Every quarter-hour that was sent equals `register_at`, and `usage` of a span is the sum of its quarters."""
    simulator = run.simulator
    now_ms = simulator.now_ms // QUARTER_MS * QUARTER_MS
    for name in ("A-0305.energy", "B-F02.A1", "C.T1.import", "A-F03.water", "G-heat.heat"):
        times, values = run.series(name)
        on_quarter = (times - simulator.world.epoch_ms) % QUARTER_MS == 0
        assert [simulator.register_at(name, int(time)) for time in times[on_quarter]] == values[on_quarter].tolist()
        edges = range(simulator.world.epoch_ms, now_ms + 1, QUARTER_MS)
        parts = [simulator.usage(name, begin, begin + QUARTER_MS) for begin in list(edges)[:-1]]
        assert sum(parts) == simulator.usage(name, simulator.world.epoch_ms, now_ms) > 0
    with pytest.raises(ValueError, match="quarter-hour"):
        simulator.register_at("A-0305.energy", now_ms + 1000)
    with pytest.raises(ValueError, match="not a register"):
        simulator.register_at("A-0305.light", now_ms)


def test_balance_of_a_floor_is_signs_alone(run: Run) -> None:
    """A floor's meter counts its rooms, its signs and what no room's meter sees, but for Wh that are not shown yet."""
    simulator = run.simulator
    begin_ms, end_ms = simulator.world.epoch_ms, simulator.start_ms + 2 * QUARTER_MS
    for building, floor in FLOORS:
        place = floor_id(building.id, floor)
        parts = [zone for zone in zones() if zone.building == building.id and zone.floor == floor]
        for item, shared in (("A1", False), ("A2", True)):
            own = [f"{zone.id}.energy" for zone in parts if (zone.kind == "corridor") == shared]
            remainder = simulator.usage(f"{place}.{item}", begin_ms, end_ms)
            remainder -= sum(simulator.usage(name, begin_ms, end_ms) for name in own)
            hidden = sum(fault.amount * 1000 for fault in faults.of("hidden") if fault.where == place)
            unmetered = 0 if shared else (SIGN_MW + hidden) * (end_ms - begin_ms) // 1000 // WH
            assert abs(remainder - unmetered) <= len(own) + 1


def test_balance_of_a_building_is_losses_alone(run: Run) -> None:
    """Supply, PV and regeneration less everything below leave the losses of the transformers."""
    simulator = run.simulator
    begin_ms, end_ms = simulator.world.epoch_ms, simulator.start_ms
    for letter in "ABC":
        supplied = ["T1.import", "T2.import"]
        total = sum(simulator.usage(f"{letter}.{name}", begin_ms, end_ms) for name in supplied)
        signed = {f"{letter}.T1.export": -1}
        for one in registers():
            if one.id.startswith(f"{letter}-") and one.counts_in == "sub_items" and one.medium == "electricity":
                signed[one.id] = -1
            elif one.id.startswith(f"{letter}-") and one.role in ("pv_energy", "regeneration"):
                signed[one.id] = 1
        remainder = total + sum(sign * simulator.usage(name, begin_ms, end_ms) for name, sign in signed.items())
        no_load = 2 * 700_000 * (end_ms - begin_ms) // 1000 // WH
        assert no_load < remainder < no_load + total // 50


def test_water_of_a_building_is_its_floors_and_a_leak(run: Run) -> None:
    """The water meter of a building counts its floors and the leak before them, to a litre a meter."""
    simulator = run.simulator
    begin_ms, end_ms = simulator.world.epoch_ms, simulator.start_ms + 2 * QUARTER_MS
    (leak,) = faults.of("main")
    since_ms = simulator.world.epoch_ms + (DAYS * DAY_S + leak.start_s) * 1000
    leak_ml = leak.amount * (end_ms - since_ms) // 60_000
    assert leak.where == "B"
    floors = [f"{floor_id(building.id, floor)}.water" for building, floor in FLOORS if building.id == "B"]
    remainder = simulator.usage("B.water", begin_ms, end_ms)
    remainder -= sum(simulator.usage(name, begin_ms, end_ms) for name in floors)
    assert abs(remainder - leak_ml) <= 1000 * (len(floors) + 1)


def test_a_room_by_hand(run: Run) -> None:
    """People, light and energy of a room for half an hour, told from the list of spans by plain counting."""
    simulator = run.simulator
    number = DAYS
    channels = simulator.world.channels(number)
    start_s = simulator.start_s
    zone = zone_index()["B-0410"]
    room = zones()[zone]
    held = {
        name: [span for span in zip(*(part.tolist() for part in _columns(spans)), strict=True) if span[0] == zone]
        for name, spans in (("people", channels.people), ("light", channels.light))
    }

    def level(name: str, time_s: int) -> int:
        return sum(amount for _, begin_s, end_s, amount in held[name] if begin_s <= time_s < end_s)

    assert number * DAY_S < start_s
    counted = 0
    for time_s in range(start_s + 10, start_s + 1801, 10):
        people, light_mw = level("people", time_s), room.light_w * 1000 * (level("light", time_s) > 0)
        counted += 10 * (light_mw + room.seats * 6000 + people * 70_000)
    used = simulator.usage("B-0410.energy", simulator.start_ms, simulator.start_ms + 1_800_000)
    assert counted > 0
    assert abs(used - counted // WH) <= 1


def _columns(spans: object) -> list[np.ndarray]:
    return [getattr(spans, name) for name in ("column", "start_s", "end_s", "amount")]


def test_nobody_is_in_two_places(run: Run) -> None:
    """Nobody leaves a room that he is not in, and no office ever has more people than work there."""
    people = run.simulator.world.channels(DAYS).people
    level = people.later(-DAYS * DAY_S).matrix(len(zones()), 0, 60, 1440)
    assert level.min() >= 0
    offices = [i for i, zone in enumerate(zones()) if zone.kind == "office"]
    assert all((level[:, i] <= zones()[i].seats).all() for i in offices)


def test_a_late_gateway_loses_nothing(run: Run) -> None:
    """Its readings come four minutes late, in order, and are the ones that it would have sent in time."""
    (late,) = faults.of("late")
    at = {i for i, point in enumerate(points()) if point.gateway == late.where}
    begin_ms = run.simulator.world.epoch_ms + (late.start_s + DAYS * DAY_S) * 1000
    sent = [(step.time_ms, batch) for step in run.steps for batch in step.batches if batch.gateway == late.where]
    lags = {step_ms - int(time) for step_ms, batch in sent for time in batch.times_ms if time >= begin_ms}
    assert lags == {late.amount * 1000}
    minutes = {int(time) for _, batch in sent for time in batch.times_ms if time % 60_000 == 0}
    last_ms = run.steps[-1].time_ms - late.amount * 1000
    assert minutes == set(range(run.simulator.start_ms + 60_000, last_ms + 1, 60_000))
    assert all(set(batch.points.tolist()) <= at for _, batch in sent)


def test_a_silent_meter_says_nothing(run: Run) -> None:
    """From its fault on there is no reading of its registers, while its gateway goes on with the others."""
    (silent,) = faults.of("silent")
    begin_ms = run.simulator.world.epoch_ms + (silent.start_s + DAYS * DAY_S) * 1000
    registers_of_it = [one for one in registers() if one.meter == silent.where]
    assert registers_of_it
    for one in registers_of_it:
        times, _ = run.series(one.id)
        assert run.simulator.start_ms < times[-1] < begin_ms
    gateways = {batch.gateway for batch in run.steps[-1].batches}
    assert {one.gateway for one in registers_of_it} <= gateways


def test_a_clock_that_is_behind_stamps_all_readings(run: Run) -> None:
    """From the first day on a reading says an earlier time than that of its value, and the ledger follows the stamp."""
    (behind,) = faults.of("clock")
    (register,) = [one for one in registers() if one.meter == behind.where]
    simulator, late_ms = run.simulator, behind.amount * 1000
    times, values = run.series(register.id)
    assert (times[0], times[-1]) == (simulator.world.epoch_ms - late_ms, simulator.now_ms - late_ms)
    last_ms = (simulator.now_ms - late_ms) // QUARTER_MS * QUARTER_MS
    assert simulator.read(register.id, last_ms) == values[int(np.flatnonzero(times == last_ms)[0])] - values[0]


def test_a_gateway_that_is_down_says_nothing(run: Run) -> None:
    """From its fault on there is no batch of it."""
    (down,) = faults.of("down")
    begin_ms = run.simulator.world.epoch_ms + (down.start_s + DAYS * DAY_S) * 1000
    heard = [step.time_ms for step in run.steps for batch in step.batches if batch.gateway == down.where]
    assert run.simulator.start_ms < heard[-1] < begin_ms


def test_a_stuck_meter_shows_one_value(run: Run) -> None:
    """From its fault on it is read as before, and shows what it showed then, while what it measures goes on."""
    (stuck,) = faults.of("stuck")
    begin_ms = run.simulator.world.epoch_ms + (stuck.start_s + DAYS * DAY_S) * 1000
    for register in (one for one in registers() if one.meter == stuck.where):
        times, values = run.series(register.id)
        after = values[times >= begin_ms]
        assert times[-1] == run.simulator.now_ms
        assert len(after) > 200
        assert (after == after[0]).all()
        assert run.simulator.usage(register.id, begin_ms, run.simulator.start_ms) > 0
        assert run.simulator.read(register.id, run.simulator.now_ms) == after[0] - values[0]


def test_wrong_deposits_of_a_fault_are_events(run: Run) -> None:
    """Those that a fault brings are among the deposits of its station, within its time."""
    (fault,) = faults.of("sorting")
    midnight_ms = run.simulator.world.epoch_ms + DAYS * DAY_S * 1000
    wrong = [
        int(str(event.value["time_ms"])) - midnight_ms
        for step in run.steps
        for event in step.events
        if event.value["kind"] == "deposit"
        and (event.value["station"], event.value["verdict"]) == (fault.where, "wrong_class")
    ]
    assert sum(fault.start_s * 1000 <= time_ms <= fault.end_s * 1000 for time_ms in wrong) >= fault.amount


def test_events_are_told_once_and_in_time(run: Run) -> None:
    """Every event has an id of its own, and is sent in the step that its time falls into."""
    live = [(step.time_ms, event) for step in run.steps for event in step.events]
    ids = [(event.topic, event.value["event_id"]) for event in [*run.events, *(event for _, event in live)]]
    assert len(ids) == len(set(ids)) > 1000
    assert all(0 <= time_ms - int(str(event.value["time_ms"])) < 10_000 for time_ms, event in live)
    assert all(int(str(event.value["time_ms"])) <= run.simulator.start_ms for event in run.events)


def test_totals_are_those_of_the_events(run: Run) -> None:
    """What the events add up to equals a plain sum over them."""
    events = [*run.events, *(event for step in run.steps for event in step.events)]
    deposited = sum(int(str(event.value["mass_g"])) for event in events if event.value["kind"] == "deposit")
    distance = sum(int(str(event.value["distance_m"])) for event in events if event.value["kind"] == "trip_end")
    totals = run.simulator.totals
    assert deposited == sum(value for name, value in totals.items() if name.endswith("/deposited")) > 0
    assert distance == sum(value for name, value in totals.items() if name.endswith("/distance")) > 0

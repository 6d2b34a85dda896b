"""Who is in the room, the slow way: a two-state filter in floating point, from what the parameters say they mean.

Written from `schemas/model/presence_defaults.csv`: odds drift as a Markov chain, evidence multiplies them. Nothing is
shared with the kernel but the names of the parameters.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Room:
    """One room.

    Attributes:
        own: parameter → value in its unit.
        working: whether the schedule holds at a time (minutes); None: not known.
        max_age: minutes after which a value is no longer believed, by evidence.
    """

    own: Mapping[str, float]
    working: Mapping[int, bool] | None
    max_age: Mapping[str, float]
    p: float = 0.5
    time: float | None = None
    started: float = 0.0
    last: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    means: tuple[float, float] | None = None
    air_change: float = 0.0
    co2_time: float = 0.0

    def see(self, name: str, minute: float, value: float) -> float:
        """Takes a reading; the probability that somebody is there."""
        before = self.last.get(name)
        since = before[2] if before and before[1] == value and minute - before[0] <= self.max_age[name] else minute
        self.last[name] = (minute, value, since)
        if self.time is None:
            self.time = self.started = minute
        span = min(minute - self.time, 60.0)
        self.time = minute
        nats, change = self._standing(minute, span)
        if span > 0:
            self._come_and_go(minute, span, change)
        if name == "co2":
            nats += self._air(minute, value)
        if name == "motion" and value > 0 and since == minute:
            nats += self.own["motion_event"]
        odds = math.log(self.p / (1 - self.p)) + nats
        certain = self.own["certainty"]
        self.p = 1 / (1 + math.exp(-max(-certain, min(certain, odds))))
        return self.p

    def _come_and_go(self, minute: float, span: float, change: float) -> None:
        kind = "any" if self.working is None else "working" if self.working[int(minute)] else "closed"
        come = max(min(span / self.own[f"arrive_{kind}"], 0.5), change)
        leave = max(min(span / self.own[f"leave_{kind}"], 0.5), change)
        self.p = self.p * (1 - leave) + (1 - self.p) * come

    def _fresh(self, name: str, minute: float) -> tuple[float, float, float] | None:
        found = self.last.get(name)
        return found if found and minute - found[0] <= self.max_age[name] else None

    def _standing(self, minute: float, span: float) -> tuple[float, float]:
        own, nats, change = self.own, 0.0, 0.0
        motion = self._fresh("motion", minute)
        if motion and motion[1] > 0:
            nats += own["motion_active"] * min(span, 1.0)
        elif motion and minute - motion[2] > own["motion_hold"]:
            nats -= own["motion_still"] * span
        door = self._fresh("door_open", minute)
        if door and door[2] > minute - span and door[2] > self.started:
            change = own["door_change"]
        wifi = self._fresh("wifi_clients", minute)
        if wifi:
            self._least("wifi", wifi[1], span)
            nats += own["wifi_present"] * span if wifi[1] - self.least["wifi"] >= 0.5 else -own["wifi_absent"] * span
        plug = self._fresh("socket_power", minute)
        if plug:
            self._least("plug", plug[1], span)
            nats += own["plug_present"] * span if plug[1] - self.least["plug"] > own["plug_step"] else 0.0
        return nats, change

    def _least(self, name: str, value: float, span: float) -> None:
        known = self.least.get(name, value)
        days = self.own["co2_base_time"] * 1440
        self.least[name] = value if value <= known else known + (value - known) * span / days

    def _air(self, minute: float, value: float) -> float:
        own = self.own
        if self.means is None:
            self.means, self.co2_time = (value, value), minute
            self.least["co2"] = min(value, own["co2_outdoor"])
            self.air_change = own["air_change"] / 60
            return 0.0
        span = minute - self.co2_time
        self.co2_time = minute
        fast, slow = (
            mean + (value - mean) * span / (own[name] + span)
            for mean, name in zip(self.means, ("co2_fast", "co2_slow"), strict=True)
        )
        self.means = (fast, slow)
        self._least("co2", fast, span)
        slope = (fast - slow) / (own["co2_slow"] - own["co2_fast"])
        excess = fast - self.least["co2"]
        if excess > 100:
            step = own["air_change_step"] / 60 * min(span, 10.0)
            up = step * own["air_change_share"]
            self.air_change += up if -slope / excess > self.air_change else up - step
            self.air_change = max(own["air_change_min"] / 60, min(self.air_change, own["air_change_max"] / 60))
        carried = self.air_change * excess
        wanted = own["co2_source"] + own["co2_relative"] * carried
        says = max(-1.0, min(1.0, (slope + carried - wanted) / wanted))
        return says * own["co2_weight"] * min(span, 10.0)


def follow(room: Room, readings: Sequence[tuple[float, str, float]]) -> list[tuple[float, float]]:
    """(minute, probability) after every reading, in their order."""
    return [(minute, room.see(name, minute, value)) for minute, name, value in readings]

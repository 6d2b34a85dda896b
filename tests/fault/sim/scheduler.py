"""Who runs next: processes as threads of which exactly one has the word, chosen by the seed.

Every call of the simulated world is a *step*. At a step the one who has the word may lose it, and may die: a process
that is killed raises `Killed` at this and every later step, so that no `finally` of the code under test reaches the
world after its death, as after kill -9.
"""

import random
import threading
from collections.abc import Callable
from typing import Final

STEPS_MAX: Final = 60_000
"""A life that takes more steps makes no progress."""


class Killed(BaseException):
    """kill -9, seen from inside; no `except Exception` survives it."""


class Stuck(AssertionError):
    """Nobody comes any further."""


def _taken() -> threading.Lock:
    """A lock that somebody else will release: the cheapest way to hand over the word."""
    lock = threading.Lock()
    lock.acquire()
    return lock


class Process:
    """What lives and dies together: threads of one operating system process.

    Attributes:
        name: for the history.
        alive: False after its death.
        stopping: told to stop in order.
        point: where its last step was.
        paused_until: virtual time before which it does not run (SIGSTOP).
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stopping = False
        self.point = ""
        self.paused_until = 0.0


class Actor:
    """A thread of a process."""

    def __init__(self, scheduler: "Scheduler", process: Process, work: Callable[[], None]) -> None:
        self.process = process
        self.done = False
        self.error: BaseException | None = None
        self.word = _taken()
        self.until_s = 0.0
        self._scheduler = scheduler
        self._work = work
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self.word.acquire()
        try:
            if self.process.alive:
                self._work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  told to who runs the world
            self.error = error
        self.done = True
        self._scheduler.main.release()


class Scheduler:
    """The order of everything.

    Args:
        seed: of this life.

    Attributes:
        random: the only source of chance.
        now_s: virtual time.
        steps: taken so far.
        history: what happened, for who replays a seed.
        calm: no more faults: what is left must come right.
        death: chance to die at a step.
        switch: chance to lose the word at a step.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 1000.0
        self.steps = 0
        self.history: list[str] = []
        self.calm = False
        self.death = 0.0
        self.switch = 0.3
        self.main = _taken()
        self.crash_points: set[str] = set()
        self._actors: list[Actor] = []
        self._current: Actor | None = None

    @property
    def process(self) -> Process:
        """The process that has the word."""
        assert self._current is not None
        return self._current.process

    def spawn(self, process: Process, work: Callable[[], None]) -> Actor:
        """A new thread of a process; it runs when its turn comes."""
        actor = Actor(self, process, work)
        self._actors.append(actor)
        return actor

    def tell(self, text: str) -> None:
        """A line of the history."""
        who = self._current.process.name if self._current is not None else "world"
        self.history.append(f"{self.now_s:10.3f} {who}: {text}")

    def step(self, point: str) -> None:
        """Something of the world is asked for: time passes, the word may go to another, the process may die.

        Raises:
            Killed: it is dead.
        """
        actor = self._current
        assert actor is not None
        if not actor.process.alive:
            raise Killed
        self.steps += 1
        actor.process.point = point
        if self.steps > STEPS_MAX:
            actor.process.alive = False
            raise Stuck(f"no end after {STEPS_MAX} steps, last {point}")
        self.now_s += self.random.choice((0.0, 0.001, 0.004, 0.02))
        if not self.calm and self.random.random() < self.death:
            self.kill(actor.process, point)
            raise Killed
        if self.random.random() < self.switch:
            self._yield(actor)

    def sleep(self, seconds: float) -> None:
        """Waits; others have the word."""
        actor = self._current
        assert actor is not None
        actor.until_s = self.now_s + seconds
        self._yield(actor)

    def kill(self, process: Process, point: str = "") -> None:
        """Ends a process at once."""
        if process.alive:
            process.alive = False
            self.crash_points.add(point)
            self.tell(f"{process.name} dies at {point}")

    def turn(self) -> bool:
        """Lets one actor run until it loses the word; False when there is nobody left."""
        self._actors = [actor for actor in self._actors if not actor.done]
        able = [a for a in self._actors if not a.process.alive or max(a.until_s, a.process.paused_until) <= self.now_s]
        if not able:
            if not self._actors:
                return False
            self.now_s = min(max(a.until_s, a.process.paused_until) for a in self._actors)
            return True
        self._switch_to(self.random.choice(able))
        return True

    def end(self) -> None:
        """Kills everybody."""
        for actor in self._actors:
            actor.process.alive = False
        while any(not actor.done for actor in self._actors):
            for actor in self._actors:
                if not actor.done:
                    self._switch_to(actor)

    def _switch_to(self, actor: Actor) -> None:
        self._current = actor
        actor.word.release()
        self.main.acquire()
        self._current = None
        if actor.done and actor.error is not None:
            raise actor.error

    def _yield(self, actor: Actor) -> None:
        self.main.release()
        actor.word.acquire()
        if not actor.process.alive:
            raise Killed

"""What the rivals' Python programs share: the alert of one point, and the marks of the measurement."""

import os

THRESHOLD = 80.0
HOLD_MS = 180_000
WINDOW_MS = 60_000
GRACE_MS = 30_000


def step(state, time_ms, value):
    """One reading of a point; state is [since, last time, fired]. The begin of the spell when the alert fires."""
    since, last, fired = state
    if time_ms <= last:
        return None
    state[1] = time_ms
    if value <= THRESHOLD:
        state[0], state[2] = -1, False
    elif since < 0:
        state[0], state[2] = time_ms, False
    elif not fired and time_ms - since >= HOLD_MS:
        state[2] = True
        return since
    return None


def mark(name):
    """Past whatever a framework has put in the place of standard output."""
    os.write(1, f"MARK {name}\n".encode())


class Marks:
    """Counts readings; says when the first and the last one came."""

    def __init__(self):
        self.total = int(os.environ["TOTAL"])
        self.seen = 0
        self.done = 0

    def read(self, count):
        """So many readings came in."""
        if self.seen == 0:
            mark("start")
        self.seen += count

    def processed(self, count):
        """So many readings went through the last operator; whether those were the last ones."""
        self.done += count
        return self.done >= self.total

    def end(self):
        """Results are in Kafka: that is all."""
        mark("end")
        os._exit(0)

"""A call of librdkafka that never returns is noticed, one that takes turns with others is not."""

import threading
from collections.abc import Iterator

import pytest

from schemas.settings import KafkaSettings, Settings
from streams.agents import HUNG_S, Tasks
from streams.documents import Documents
from streams.snapshots import SnapshotWriter
from streams.task import Surroundings
from streams.transaction import calling, oldest_call


@pytest.fixture
def tasks(kafka: KafkaSettings) -> Iterator[Tasks]:
    """The tasks of a worker that has no partition."""
    settings = Settings(kafka=kafka)
    snapshots = SnapshotWriter(kafka)
    yield Tasks(settings, Surroundings(kafka, settings.worker, Documents(kafka), snapshots))
    snapshots.close()


def test_a_call_that_lasts_is_told(tasks: Tasks) -> None:
    """One call during more than HUNG_S hangs; up to there it does not, and when it has returned neither."""
    with calling():
        assert not tasks.hangs(HUNG_S)  # what passed before the call was seen does not count
        assert not tasks.hangs(HUNG_S)
        assert tasks.hangs(0.1)
    assert not tasks.hangs(HUNG_S)


def test_calls_that_follow_each_other_do_not_hang(tasks: Tasks) -> None:
    """However long it goes on: each call is another one."""
    for _ in range(5):
        with calling():
            assert not tasks.hangs(HUNG_S)


def test_the_oldest_call_of_all_threads_counts() -> None:
    """A call in another thread that began first is the oldest until it returns."""
    inside, leave = threading.Event(), threading.Event()

    def call() -> None:
        with calling():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=call)
    thread.start()
    inside.wait()
    first = oldest_call()
    with calling():
        assert oldest_call() == first > 0
        leave.set()
        thread.join()
        assert oldest_call() > first
    assert oldest_call() == 0

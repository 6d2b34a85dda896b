"""Documents of a worker, on the real broker: followed as they are published, fetched, cached, checked."""

import threading
from pathlib import Path

import pytest

from schemas.errors import HistoryIncomplete
from schemas.model.check import check_folder
from schemas.model.document import Document
from schemas.settings import KafkaSettings
from streams import documents as module
from streams.documents import Documents
from streams.follower import Follower
from streams.published import apply_model, read_documents
from tests.streams.pipeline import AT_ONCE, KEY, publish
from tests.support.models import write_model

pytestmark = pytest.mark.kafka
NEVER = threading.Event()


def change(kafka: KafkaSettings, folder: Path, threshold: str) -> Document:
    """Publishes another threshold; the new document."""
    model, faults = check_folder(write_model(folder, packs={"lighting.yaml": AT_ONCE.replace("50 W", threshold)}))
    assert not faults
    apply_model(kafka, model, KEY)
    return read_documents(kafka)["east"]


def test_documents_are_cached_and_checked(kafka: KafkaSettings, tmp_path: Path) -> None:
    """A document is fetched once, kept on disk, and a file with other bytes is removed and fetched again."""
    documents = Documents(kafka, tmp_path / "cache")
    sha = publish(kafka, tmp_path)["east"].sha256
    assert documents.get(sha, NEVER).site == "east"
    documents.close()
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    nowhere = kafka.model_copy(update={"bootstrap": "127.0.0.1:1"})
    assert Documents(nowhere, tmp_path / "cache").get(sha, NEVER).sha256 == sha
    file.write_bytes(file.read_bytes()[:-1])
    assert Documents(kafka, tmp_path / "cache").get(sha, NEVER).sha256 == sha
    given_up = threading.Event()
    given_up.set()
    with pytest.raises(HistoryIncomplete):
        documents.get(bytes(32), given_up)


def test_a_follower_has_what_is_published_since(kafka: KafkaSettings, tmp_path: Path) -> None:
    """By its bytes, once; what was there before, and what nobody has published, is not waited for."""
    first = publish(kafka, tmp_path)["east"]
    follower = Follower(kafka)
    assert follower.take(first.sha256, NEVER) is None  # not started
    follower.start()
    assert follower.take(first.sha256, NEVER) is None
    changed = [change(kafka, tmp_path, threshold) for threshold in ("60 W", "70 W")]
    for document in reversed(changed):
        assert follower.take(document.sha256, NEVER) == document.raw
        assert follower.take(document.sha256, NEVER) is None
    follower.close()
    assert follower.take(changed[0].sha256, NEVER) is None


def test_without_a_broker_a_follower_has_nothing(kafka: KafkaSettings) -> None:
    """It says so in the log, and documents are looked for as if there were no follower."""
    follower = Follower(kafka.model_copy(update={"bootstrap": "127.0.0.1:1"}))
    follower.start()
    assert follower.take(bytes(32), NEVER) is None
    follower.close()


def test_a_changed_rule_is_not_read_from_the_beginning(
    kafka: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that runs takes the new document as it comes, and shares the tables that have not changed."""
    documents = Documents(kafka, tmp_path / "cache")
    before = documents.get(publish(kafka, tmp_path)["east"].sha256, NEVER)
    following = [thread for thread in threading.enumerate() if thread.name == "documents"]
    for thread in following:
        thread.join()
    monkeypatch.setattr(module, "fetch_bytes", None)
    after = change(kafka, tmp_path, "60 W")
    found = documents.get(after.sha256, NEVER)
    assert found == after
    assert found.tables is before.tables
    documents.close()
    assert Documents(kafka, tmp_path / "cache").get(after.sha256, NEVER) == after

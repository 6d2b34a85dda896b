"""A state of an older engine, as it was written, becomes one of this engine and goes on."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backports import zstd

from processors import snapshot
from processors.advance import Processor
from processors.migrations import LAYOUTS, STEPS
from processors.state import APPLIED, ENGINE, TOLD
from schemas.control import SigningKey, engine_record
from schemas.errors import ContractError, EngineMismatch
from schemas.model.document import Document
from schemas.topics import METER_READINGS
from tests.processors.logs import LIGHT, MAIN, site
from tests.processors.world import KEY, T0, Record, batch, config, decode, library, records, slab

GOLDEN = Path(__file__).parents[1] / "golden" / "engine-1.json.zst"


@pytest.fixture(name="old", scope="module")
def _old() -> dict[str, Any]:
    """What engine 1 left behind: state, documents, and messages that come after."""
    found: dict[str, Any] = json.loads(zstd.decompress(GOLDEN.read_bytes()))
    return found


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _migrated(old: dict[str, Any]) -> Processor:
    documents = {
        bytes.fromhex(sha): Document.parse(_bytes(raw) or b"", bytes.fromhex(sha))
        for sha, raw in old["documents"].items()
    }
    return snapshot.load(_bytes(old["snapshot"]) or b"", METER_READINGS, 0, documents.__getitem__, engine=1)


def _parts(processor: Processor, instance: int) -> list[int]:
    """Parts of an instance."""
    found: list[int] = np.flatnonzero(processor.layout.arrays.part_instance == instance).tolist()
    return found


def test_every_engine_has_its_step() -> None:
    """From each engine whose layout is known there is a way to this one."""
    assert set(LAYOUTS) == set(STEPS) == set(range(1, ENGINE))


def test_what_engine_1_knew_is_kept(old: dict[str, Any]) -> None:
    """Clocks, levels and counts of every point, phases of alerts, amounts of episodes; nothing that is new is set."""
    processor = _migrated(old)
    state = processor.state
    assert [[int(row["clock"]), int(row["last"]), int(row["total"])] for row in state.points] == old["points"]
    bound = processor.layout.bound_place
    assert bound.tolist() != sorted(bound.tolist()), "engine 1 had another order"
    assert state.instances["phase"].tolist() == [old["phases"][place] for place in bound.tolist()]
    was = [part for place in np.argsort(bound) for part in _parts(processor, int(place))]
    assert state.parts["amount"][was].tolist() == old["amounts"]
    assert 2 in old["phases"]
    assert not np.any(state.points["flags"] & TOLD)
    assert (len(state.facts), len(state.seen), int(state.scalars[APPLIED])) == (0, 0, 0)


def test_it_goes_on_and_saves_as_this_engine(old: dict[str, Any]) -> None:
    """Messages that come after are applied, the sequences go on, and the next snapshot is one of this engine."""
    processor = _migrated(old)
    before = {str(head["stream"]): head["sequence"] for head in processor.stream_heads()}
    log: list[Record] = [(offset, at, _bytes(key), _bytes(value)) for offset, at, key, value in old["messages"]]
    processor.advance(slab(log))
    outputs = processor.take()
    assert outputs
    after = {str(head["stream"]): head["sequence"] for head in processor.stream_heads()}
    assert after["ledger"] > before["ledger"] > 0  # type: ignore[operator]
    again = snapshot.load(snapshot.save(processor), METER_READINGS, 0, lambda sha: processor.layout.documents["s1"] if
                          processor.layout.documents["s1"].sha256 == sha else processor.layout.documents["s2"])  # fmt: skip
    assert again.stream_heads() == processor.stream_heads()


def test_an_older_state_is_not_taken_for_one_of_this_engine(old: dict[str, Any]) -> None:
    """Unless it is asked for, a state of another engine is refused."""
    with pytest.raises(ContractError, match="engine 1"):
        snapshot.load(_bytes(old["snapshot"]) or b"", METER_READINGS, 0, lambda _: pytest.fail("not asked"))


class TestRecord:
    """The record at which an engine ends."""

    def processor(self) -> tuple[Processor, Document]:
        """With a document that knows a key, and a rule that is about to be due."""
        one = site()
        processor = Processor(METER_READINGS, 0, library(one).__getitem__)
        log = records([(T0, config(one)), (T0 + 1, batch([(LIGHT, T0, 60_000), (MAIN, T0, 5)]))])
        processor.advance(slab(log))
        processor.take()
        return processor, one

    def test_nothing_of_it_is_done(self) -> None:
        """The engine before stops with the state that it had: not even the record's time has passed."""
        processor, _ = self.processor()
        before = snapshot.save(processor)
        wanted = engine_record(1, ENGINE + 1, KEY)
        with pytest.raises(EngineMismatch):
            processor.advance(slab(records([(T0 + 7_200_000, wanted)], start=2)))
        assert processor.outbox.rows == 0
        assert snapshot.save(processor) == before

    @pytest.mark.parametrize("key", [None, SigningKey.of(bytes(32))])
    def test_a_stranger_cannot_stop_a_partition(self, key: SigningKey | None) -> None:
        """Unsigned, or signed by a key that no document knows, it is rejected and changes nothing."""
        processor, _ = self.processor()
        signed = engine_record(1, ENGINE + 1, key or KEY)
        if key is None:
            from schemas import codec

            signed = codec.write(
                "engine_record", {**codec.read("engine_record", signed), "key_id": "", "signature": b""}
            )
        processor.advance(slab(records([(T0 + 2, signed)], start=2)))
        (row,) = decode(processor.take())["rejected"]
        assert row["reason"] == ("unsigned" if key is None else "bad_signature")

    def test_a_record_of_this_engine_changes_nothing(self) -> None:
        """Once the engine is there, the record is only time that passes."""
        processor, _ = self.processor()
        processor.advance(slab(records([(T0 + 2, engine_record(1, ENGINE, KEY))], start=2)))
        assert decode(processor.take())["rejected"] == []
        assert processor.position == 3

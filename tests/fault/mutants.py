"""The rules of delivery, each broken on purpose: a mutant is a change of the production code's text, and must be noticed.

A rule that nothing notices when it is broken is not tested. `caught` breaks it in this process, lives lives until one
goes wrong, and mends it. Mutants that change nothing a reader of topics and tables could ever see are in `EQUIVALENT`,
each with the reason.
"""

import contextlib
import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.fault.sim.lives import Lived, live

SEEDS_MAX: Final = 1500
"""A mutant that is alive after so many lives was not noticed."""


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One rule, broken.

    Attributes:
        name: of the mutant.
        rule: the rule of delivery that it breaks.
        module: where.
        changes: text that is there exactly once, and what stands in its place.
        kind: of the lives that notice it.
        seed: of a life that is known to notice it, tried first; the search begins at 0.
    """

    name: str
    rule: str
    module: str
    changes: tuple[tuple[str, str], ...]
    kind: str = "tasks"
    seed: int = 0


TASK: Final = "streams.task"
TRANSACTION: Final = "streams.transaction"
SNAPSHOTS: Final = "streams.snapshots"
AGENTS: Final = "streams.agents"
SINK: Final = "sinks.clickhouse.sink"
RANGES: Final = "sinks.clickhouse.ranges"
WRITER: Final = "sinks.clickhouse.writer"

MUTANTS: Final = (
    Mutant(
        "skip the fence", "whoever opens a task fences who had it", TRANSACTION,
        (('f"ganzhi-{topic}-{partition}", give_up)', 'f"ganzhi-{topic}-{partition}-{id(self)}", give_up)'),),
    ),
    Mutant(
        "read the position before the fence", "fence first, then read where to go on", TASK,
        ((("        self._producer = TaskProducer(kafka, self._topic, self._partition, self._membership, self.give_up)\n"
          "        record = read_record(kafka, self._topic, self._partition, self.give_up)\n"),
          ("        record = read_record(kafka, self._topic, self._partition, self.give_up)\n"
          "        self._producer = TaskProducer(kafka, self._topic, self._partition, self._membership, self.give_up)\n")),),
        seed=30,
    ),
    Mutant(
        "commit the position before the outputs", "outputs and position are one transaction", TRANSACTION,
        (("        for message in messages:\n            self._produce(message)\n",
          ("        self._produce(messages[-1])\n"
          '        self._finish("commit", self._producer.commit_transaction)\n'
          "        self._producer.begin_transaction()\n"
          "        for message in messages[:-1]:\n            self._produce(message)\n")),),
    ),
    Mutant(
        "commit the outputs before the position", "outputs and position are one transaction", TRANSACTION,
        (("        for message in messages:\n            self._produce(message)\n",
          ("        for message in messages[:-1]:\n            self._produce(message)\n"
          '        self._finish("commit", self._producer.commit_transaction)\n'
          "        self._producer.begin_transaction()\n"
          "        self._produce(messages[-1])\n")),),
    ),
    Mutant(
        "commit without the position", "outputs and position are one transaction", TRANSACTION,
        (("        messages.append(Message(topic_name(kafka, TASKS), partition, self._name.encode(), commit.position))\n", ""),),
    ),
    Mutant(
        "apply an offset twice", "every offset is applied exactly once", TASK,
        (("        return cut\n", "        return max(cut - 1, 0)\n"),),
    ),
    Mutant(
        "leave an offset out", "every offset is applied exactly once", TASK,
        (("            self._processor.advance(slab, first)\n",
          "            self._processor.advance(slab, min(first + (first > 0), len(slab)))\n"),),
    ),
    Mutant(
        "publish what a replay computes", "a replay to the position suppresses its outputs", TASK,
        (("        self._processor.take(publish=False)\n        self._replayed += cut\n", "        self._replayed += cut\n"),),
    ),
    Mutant(
        "believe the replay", "a replay must end at the heads that were published", TASK,
        (("        if self._heads:\n", "        if False:\n"),),
        kind="tampered",
    ),
    Mutant(
        "restore a snapshot ahead of the position", "a snapshot is used at or before the position", TASK,
        (("if low <= head.offset <= position and", "if low <= head.offset and"),),
    ),
    Mutant(
        "restore a snapshot of the wrong offset", "a snapshot is that of its head's offset", TASK,
        (("                if processor.position != head.offset:\n", "                if False:\n"),),
        seed=265,
    ),
    Mutant(
        "ignore the snapshot's hash", "a snapshot whose hash does not hold is not used", SNAPSHOTS,
        (("    if len(raw) != head.size or hashlib.sha256(raw).digest() != head.sha256:\n",
          "    if len(raw) != head.size:\n"),),
        seed=146,
    ),
    Mutant(
        "take a snapshot with chunks missing", "a torn snapshot is not used", SNAPSHOTS,
        (("    if sorted(parts) != list(range(head.chunks)):\n", "    if False:\n"),),
        seed=205,
    ),
    Mutant(
        "stop reading at the first open transaction", "the record is read to the end, whoever has transactions open",
        SNAPSHOTS,
        (("        enable_auto_commit=False,\n        isolation_level=_UNCOMMITTED,\n",
          "        enable_auto_commit=False,\n        isolation_level=_COMMITTED,\n"),),
    ),
    Mutant(
        "read positions that were not committed", "an aborted position is none", SNAPSHOTS,
        (("in _read(kafka, name, partition, 0, end, _COMMITTED, give_up):",
          "in _read(kafka, name, partition, 0, end, _UNCOMMITTED, give_up):"),),
    ),
    Mutant(
        "go on after a commit that failed", "what is half committed is forgotten, never committed further", TASK,
        (("            self._broken = True\n            self.doing = f\"committing", '            self.doing = f"committing'),),
        seed=37,
    ),
    Mutant(
        "send again without an abort", "a commit that went wrong is aborted before it is sent again", TRANSACTION,
        (("                self._abort()\n            if self._give_up", "            if self._give_up"),),
    ),
    Mutant(
        "take a fence for a hiccup", "a fenced worker lets go of the partition", TRANSACTION,
        (("                if fault.code() in (*_FENCES, *_REFUSALS) or not fault.txn_requires_abort():\n",
          ("                if fault.code() in _FENCES:\n                    return None\n"
          "                if fault.code() in _REFUSALS or not fault.txn_requires_abort():\n")),),
    ),
    Mutant(
        "ignore the epoch of a slab", "a slab that was read before the last seek is stale", AGENTS,
        (("if one is None or slab.epoch != one.epoch:", "if one is None:"),),
        kind="slabs",
    ),
    Mutant(
        "apply a slab that starts elsewhere", "a slab is applied where the last one ended", AGENTS,
        (("        if slab.start != one.expected:\n", "        if False:\n"),
         ("if one is None or slab.epoch != one.epoch:", "if one is None:")),
        kind="slabs",
    ),
    Mutant(
        "keep the epoch when slabs were dropped", "a seek makes everything stale that was under way", AGENTS,
        (("                one.epoch, one.dropped = -1, True\n", "                one.dropped = True\n"),),
        kind="slabs",
    ),
    Mutant(
        "insert before the range is declared", "a range is declared before anything of it is inserted", SINK,
        (("        self._commit({place: start for place, (start, _) in range_.spans.items()}, range_.text)\n", ""),),
        kind="sinks",
    ),
    Mutant(
        "commit the ends before the inserts", "the ends are committed after every insert", SINK,
        (("        blocks = blocks_of(runs)\n        for block in blocks:\n",
          ('        self._commit({place: end for place, (_, end) in range_.spans.items()}, "")\n'
          "        blocks = blocks_of(runs)\n        for block in blocks:\n")),),
        kind="sinks",
    ),
    Mutant(
        "a token without the range", "a token names the range, the encoder, the table and the messages", RANGES,
        (("        return hashlib.sha256(told + content).hexdigest()\n",
          "        return hashlib.sha256(table.encode()).hexdigest()\n"),),
        kind="sinks",
    ),
    Mutant(
        "another token for each attempt", "the same range has the same token, whoever sends it", RANGES,
        (("        return hashlib.sha256(told + content).hexdigest()\n",
          "        import os\n        return hashlib.sha256(told + content + os.urandom(8)).hexdigest()\n"),),
        kind="sinks",
    ),
    Mutant(
        "finish only one's own part of a range", "an open range is finished whole, message for message", SINK,
        (("        for block in blocks_of(runs):\n            if ask:",
          "        for block in blocks_of({place: run for place, run in runs.items() if place in mine}):\n            if ask:"),),
        kind="sinks",
        seed=65,
    ),
    Mutant(
        "declare only the own partition's part", "the metadata of every partition hold the whole range", SINK,
        (("        self._commit({place: start for place, (start, _) in range_.spans.items()}, range_.text)\n",
          ("        for place, span in range_.spans.items():\n"
          "            self._commit({place: span[0]}, Range({place: span}, range_.opened_ms).text)\n")),),
        kind="sinks",
    ),
    Mutant(
        "read a finished range again", "reading goes on behind the range that was finished", SINK,
        (("                positions[place] = distinct([metadata])[0].spans[place][1]\n",
          "                positions[place] = offset\n"),),
        kind="sinks",
    ),
    Mutant(
        "leave an open range open", "whoever is given a partition finishes its open range first", SINK,
        (("            self._redo(range_, [place", "            len([place"),),
        kind="sinks",
    ),
    Mutant(
        "trust a token for ever", "an old range is asked for before it is inserted again", SINK,
        (("        ask = range_.encoder != ENCODER or not 0 <= age_ms < TRUST_TOKENS_MS\n", "        ask = False\n"),),
        kind="sinks",
    ),
    Mutant(
        "try for ever under one token", "an insert that takes too long is asked for as well", SINK,
        (("            raise _Moved\n\n    def _commit", "            pass\n\n    def _commit"),),
        kind="sinks",
        seed=28,
    ),
    Mutant(
        "ask and insert everything", "of an old range only what is missing is inserted", WRITER,
        (("                self._insert(range_, block, None if missing.all() else missing)\n",
          "                self._insert(range_, block, None)\n"),),
        kind="sinks",
        seed=292,
    ),
    Mutant(
        "insert a range that was refused", "a range whose declaration was refused is somebody else's", SINK,
        ((("        if offsets and not log.commit(self._member, self._settings.kafka, offsets, metadata, self._wait):\n"
          "            raise _Moved\n"),
          "        log.commit(self._member, self._settings.kafka, offsets, metadata, self._wait)\n"),),
        kind="sinks",
        seed=30,
    ),
)  # fmt: skip

EQUIVALENT: Final[dict[str, str]] = {
    "write a snapshot before the commit": "it is the state of a log that is there; ahead of the position it is not used"
    " (`restore a snapshot ahead of the position`), and behind it it is true",
    "overwrite the slot that was used last": "a snapshot is a cache: a start that finds none replays from the log",
    "a token without the range, but with the messages": "the digest of the messages holds topics, partitions and"
    " offsets, and so names the range as well",
    "leave the group's offset out of the transaction": "the position record decides; the offset is for lag tools and a"
    " second fence",
}


@contextlib.contextmanager
def broken(mutant: Mutant) -> Iterator[None]:
    """The rule is broken inside: the module is run again with the changed text, and users of its names get the new ones.

    Raises:
        AssertionError: the text is not there exactly once: the code has changed, and the mutant must follow.
    """
    module = importlib.import_module(mutant.module)
    file = Path(module.__file__ or "")
    source = changed = file.read_text("utf-8")
    for old, new in mutant.changes:
        assert changed.count(old) == 1, f"mutant {mutant.name!r}: {old!r} is there {changed.count(old)} times"
        changed = changed.replace(old, new)
    _run_again(module, changed, str(file))
    try:
        yield
    finally:
        _run_again(module, source, str(file))


def _run_again(module: Any, source: str, file: str) -> None:
    before = dict(vars(module))
    exec(compile(source, file, "exec"), vars(module))  # noqa: S102  our own source
    renewed = {
        id(old): vars(module)[name] for name, old in before.items() if getattr(old, "__module__", "") == module.__name__
    }
    for other in list(sys.modules.values()):
        if other is module or not getattr(other, "__name__", "").startswith(("streams.", "sinks.", "tests.fault")):
            continue
        for name, value in list(vars(other).items()):
            if id(value) in renewed:
                setattr(other, name, renewed[id(value)])


def caught(mutant: Mutant, seeds_max: int = SEEDS_MAX) -> Lived | None:
    """The first life in which somebody notices; None: nobody does."""
    with broken(mutant):
        for seed in (mutant.seed, *range(seeds_max)):
            one = live(mutant.kind, seed)
            if not one.right:
                return one
    return None

"""What is published: documents and heads in the topic `config`, and the control records that put documents into force.

`config` is compacted. Key sha256 (hex) → the bytes of a document; `head/SITE` → JSON {version, sha256, previous,
partition}: what is in force; `pending/SITE` → the same, of a version whose control records are being written.

The order of writing makes a crash harmless: documents, then pending, then one signed `config` record in each input
topic, then heads. A pending version without its head is finished before anything else is published: the same records
again, which the chain of versions rejects where they are there already. So a version never has two documents.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from schemas.control import SigningKey, config_record
from schemas.errors import ContractError, KafkaUnavailable, LogError, SignatureError
from schemas.kafka import RECEIVE_BYTES_MAX, client_config
from schemas.model.build import RETIRED, Deployment, build_documents
from schemas.model.document import Document
from schemas.model.typed import Model
from schemas.settings import KafkaSettings
from schemas.topics import CONFIG, INPUTS, topic_name

HEAD: Final = "head/"
PENDING: Final = "pending/"
DOCUMENT_BYTES_MAX: Final = 256 << 20
"""Before compression; the broker's limit for `config` is for the compressed bytes."""
TIMEOUT_S: Final = 30.0
ANY_PARTITION: Final = -1
"""librdkafka's: by the hash of the key."""
_SILENT: Final = 0

Effective = Callable[[Document], int]
"""From when on a document computes, UTC ms."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is in force for a site.

    Attributes:
        version: 1, 2, 3 …
        sha256: name of the document.
        previous: name of the one before, empty for version 1.
        partition: of the site in every input topic, for ever.
        effective_ms: from when it computes, UTC; 0: from its place in the log.
    """

    version: int
    sha256: bytes
    previous: bytes
    partition: int
    effective_ms: int = 0

    @classmethod
    def parse(cls, raw: bytes) -> "Head":
        """Reads the JSON of a head.

        Raises:
            ContractError: it is none.
        """
        try:
            fields = json.loads(raw)
            sha256, previous = (bytes.fromhex(fields[name]) for name in ("sha256", "previous"))
            effective_ms = int(fields.get("effective_ms", 0))
            return cls(int(fields["version"]), sha256, previous, int(fields["partition"]), effective_ms)
        except (ValueError, TypeError, KeyError) as error:
            raise ContractError(f"a head in the topic config cannot be read: {error}") from error

    @property
    def raw(self) -> bytes:
        """Its JSON."""
        names = {"sha256": self.sha256.hex(), "previous": self.previous.hex()}
        more = {"effective_ms": self.effective_ms} if self.effective_ms else {}
        fields = {"version": self.version, **names, "partition": self.partition, **more}
        return json.dumps(fields, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Change:
    """What `publish` did for a site.

    Attributes:
        site: site id.
        version: in force now.
        sha256: hex name of the document in force.
        partition: the site's partition.
        published: False: the document was in force already, nothing was written.
        points: points of the document.
        added: points that were not in the one before.
        retired: points that are no longer in it.
    """

    site: str
    version: int
    sha256: str
    partition: int
    published: bool
    points: int
    added: int
    retired: int


def murmur2(data: bytes) -> int:
    """Kafka's murmur2 hash of a key, as Java's default partitioner computes it, as an unsigned 32-bit number."""
    mask, magic = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(data)) & mask
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * magic & mask
        word = (word ^ (word >> 24)) * magic & mask
        value = (value * magic & mask) ^ word
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * magic & mask
    value = (value ^ (value >> 13)) * magic & mask
    return value ^ (value >> 15)


def partition_of(site: str, partitions: int) -> int:
    """Where a new site goes: Kafka's `toPositive(murmur2(key)) % partitions`."""
    return (murmur2(site.encode()) & 0x7FFFFFFF) % partitions


def read_heads(kafka: KafkaSettings) -> dict[str, Head]:
    """What is in force, by site.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: there is no topic `config`.
    """
    with closing(_Reader(kafka)) as reader:
        return dict(reader.heads)


def read_documents(kafka: KafkaSettings) -> dict[str, Document]:
    """The documents in force, by site.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: there is no topic `config`, or it lacks a document that a head names.
        ContractError: a document has other bytes than its name says.
    """
    with closing(_Reader(kafka)) as reader:
        return {site: reader.document(head.sha256) for site, head in sorted(reader.heads.items())}


def fetch_document(kafka: KafkaSettings, sha256: bytes, timeout_s: float = TIMEOUT_S) -> Document:
    """A document by its name, in force or not; waits for one that is not there yet.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: it is not there within the time.
        ContractError: it has other bytes than its name says.
    """
    return Document.parse(fetch_bytes(kafka, sha256, timeout_s), sha256)


def fetch_bytes(kafka: KafkaSettings, sha256: bytes, timeout_s: float = TIMEOUT_S) -> bytes:
    """What the topic has under the name of a document; waits for one that is not there yet.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: it is not there within the time.
    """
    deadline_s = time.monotonic() + timeout_s
    with closing(_Reader(kafka, deadline_s)) as reader:
        while sha256.hex() not in reader.offsets:
            if time.monotonic() >= deadline_s:
                raise LogError(
                    f"document {sha256.hex()} is not in the topic config; publish the model again with `ganzhi apply`"
                )
            reader.read_on(0.2)
        return reader.raw(sha256)


def apply_model(
    kafka: KafkaSettings, model: Model, key: SigningKey, effective: Effective | None = None
) -> list[Change]:
    """Publishes a model that `check` found no fault in.

    Finishes what an earlier apply left undone, pins the partitions of new sites, builds the documents, and publishes
    those that differ from what is in force.

    Args:
        kafka: where the log is.
        model: the model.
        key: who signs.
        effective: says from when on the new documents compute; None: from their place in the log.

    Returns:
        What was done, a row a site of the model, in the order of sites.

    Raises:
        ModelError: the model contradicts what is published (domains in a partition, kind of a series).
        SignatureError: the key may not sign for a site.
        KafkaUnavailable: no broker answers.
        LogError: topics are missing, or somebody else published meanwhile.
    """
    repair(kafka, key)
    with closing(_Reader(kafka)) as reader:
        heads = dict(reader.heads)
        previous = {site: reader.document(head.sha256) for site, head in heads.items()}
    count = input_partitions(kafka)
    partitions = {site: head.partition for site, head in heads.items()}
    for site in model.rows("sites").texts("id"):
        partitions.setdefault(site, partition_of(site, count))
    domains = {site: document.domain for site, document in previous.items()}
    documents = build_documents(model, Deployment(partitions, domains, previous, {key.key_id: key.public}))
    return publish(kafka, documents, key, heads, effective)


def repair(kafka: KafkaSettings, key: SigningKey) -> list[str]:
    """Finishes what an apply that was killed left undone.

    Returns:
        The sites that had a pending version.

    Raises:
        SignatureError: the key may not sign for such a site.
        KafkaUnavailable: no broker answers.
        LogError: there is no topic `config`.
    """
    with closing(_Reader(kafka)) as reader:
        unfinished = {
            site: head
            for site, head in reader.pending.items()
            if site not in reader.heads or reader.heads[site].version < head.version
        }
        for site, head in unfinished.items():
            _may_sign(site, reader.document(head.previous) if head.previous else reader.document(head.sha256), key)
    Writer(kafka).put_in_force(unfinished, key)
    return sorted(unfinished)


def publish(
    kafka: KafkaSettings,
    documents: Mapping[str, Document],
    key: SigningKey,
    heads: Mapping[str, Head] | None = None,
    effective: Effective | None = None,
) -> list[Change]:
    """Publishes documents that differ from those in force; each gets the next version of its site.

    Args:
        kafka: where the log is.
        documents: by site, built on the documents in force (numbers of points go on from there).
        key: who signs; the document before must know it.
        heads: what was in force when they were built; refused when that has changed since. None: not checked.
        effective: says from when on a document computes; a time in the past marks what was read since for settlement.
            The first document of a site computes whatever was before it.

    Raises:
        SignatureError: the key may not sign for a site.
        KafkaUnavailable: no broker answers.
        LogError: topics are missing, somebody else published meanwhile, or the broker refuses a message.
    """
    with closing(_Reader(kafka)) as reader:
        current = dict(reader.heads)
        if heads is not None and any(current.get(site) != heads.get(site) for site in documents):
            raise LogError("somebody else has published a model meanwhile; nothing was written, apply again")
        before = {site: reader.document(current[site].sha256) for site in documents if site in current}
    changed = {
        site: document
        for site, document in documents.items()
        if site not in before or before[site].sha256 != document.sha256
    }
    news: dict[str, Head] = {}
    for site, document in changed.items():
        _may_sign(site, before.get(site, document), key)
        head = current.get(site)
        if head is not None and head.partition != document.partition:
            raise LogError(
                f"site {site} is in partition {head.partition} for ever; the document says {document.partition}"
            )
        version, previous = (head.version + 1, head.sha256) if head else (1, b"")
        since_ms = effective(document) if effective is not None and head is not None else 0
        news[site] = Head(version, document.sha256, previous, document.partition, since_ms)
    writer = Writer(kafka)
    writer.write([(CONFIG, ANY_PARTITION, document.sha256.hex(), document.raw) for document in changed.values()])
    writer.write([(CONFIG, ANY_PARTITION, PENDING + site, head.raw) for site, head in news.items()])
    writer.put_in_force(news, key)
    return [
        _change(site, document, before.get(site), news.get(site) or current[site], site in news)
        for site, document in sorted(documents.items())
    ]


def append(kafka: KafkaSettings, topic: str, partition: int, key: str, value: bytes) -> int:
    """Writes one message and returns its offset, once every replica that must has it.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: the broker refuses it.
    """
    return Writer(kafka).write([(topic, partition, key, value)])


def may_sign(site: str, document: Document, key: SigningKey) -> None:
    """Checks that a key may sign for a site.

    Raises:
        SignatureError: its document does not name the key.
    """
    _may_sign(site, document, key)


def input_partitions(kafka: KafkaSettings) -> int:
    """How many partitions the input topics have.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: one is missing, or they differ.
    """
    consumer = Consumer(client_config(kafka, group_id=f"{kafka.prefix}published", log_level=_SILENT))
    try:
        known = consumer.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise KafkaUnavailable(kafka.bootstrap, str(error)) from error
    finally:
        consumer.close()
    names = [topic_name(kafka, name) for name in INPUTS]
    missing = [name for name in names if name not in known]
    if missing:
        raise LogError(f"topics {', '.join(missing)} do not exist; `ganzhi up` makes them")
    counts = {name: len(known[name].partitions) for name in names}
    if len(set(counts.values())) != 1:
        raise LogError(f"the input topics have different numbers of partitions: {counts}")
    return next(iter(counts.values()))


def _change(site: str, document: Document, before: Document | None, head: Head, published: bool) -> Change:
    ids = {str(name) for name in document.table("points").get("id", [])}
    old = {str(name) for name in before.table("points").get("id", [])} if before else set()
    retired = len(document.table(RETIRED).get("id", [])) if before is None else len(old - ids)
    return Change(site, head.version, head.sha256.hex(), head.partition, published, len(ids), len(ids - old), retired)


def _may_sign(site: str, document: Document, key: SigningKey) -> None:
    if key.key_id not in document.keys:
        raise SignatureError(
            f"key {key.key_id} may not publish site {site}; {', '.join(sorted(document.keys))} may. Use the profile"
            " that published it first, or copy its signing.key"
        )


class Writer:
    """Writes to the log; each call returns when every replica that must has what it wrote.

    Made once for a publication: becoming idempotent costs a producer half a second.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._refused: list[str] = []
        self._offset = -1
        self._producer: Producer | None = None

    def put_in_force(self, heads: Mapping[str, Head], key: SigningKey) -> None:
        """Writes the control records of heads, then the heads."""
        self.write(
            [
                (
                    topic,
                    head.partition,
                    site,
                    config_record(site, head.version, head.previous, head.sha256, key, head.effective_ms),
                )
                for site, head in sorted(heads.items())
                for topic in INPUTS
            ]
        )
        self.write([(CONFIG, ANY_PARTITION, HEAD + site, head.raw) for site, head in sorted(heads.items())])

    def write(self, messages: list[tuple[str, int, str, bytes]]) -> int:
        """Writes (topic, partition, key, value); the offset of the one that was acknowledged last, -1: none."""
        if not messages:
            return -1
        if self._producer is None:
            self._producer = self._connect()
        try:
            for topic, partition, key, value in messages:
                name = topic_name(self._kafka, topic)
                self._producer.produce(name, value, key.encode(), partition, on_delivery=self._delivered)
        except (KafkaException, BufferError) as error:
            raise LogError(f"the model cannot be published: {error}") from error
        unsent = self._producer.flush(TIMEOUT_S + 5)
        reasons = "; ".join(sorted(set(self._refused)))
        if unsent or "timed out" in reasons.lower():
            raise KafkaUnavailable(self._kafka.bootstrap, reasons or "messages were not acknowledged")
        if reasons:
            raise LogError(f"the broker refuses to publish the model: {reasons}")
        return self._offset

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._refused.append(f"{message.topic()}: {error.str()}")
        else:
            self._offset = message.offset()

    def _connect(self) -> Producer:
        config = client_config(
            self._kafka,
            enable_idempotence=True,
            acks="all",
            compression_type="zstd",
            message_max_bytes=DOCUMENT_BYTES_MAX,
            message_timeout_ms=int(TIMEOUT_S * 1000),
            linger_ms=0,
            log_level=_SILENT,
        )
        return Producer(config)


class _Reader:
    """Reads `config` to its end: heads and pending versions whole, documents as offsets, fetched when asked for."""

    def __init__(self, kafka: KafkaSettings, deadline_s: float | None = None) -> None:
        self.heads: dict[str, Head] = {}
        self.pending: dict[str, Head] = {}
        self.offsets: dict[str, tuple[int, int]] = {}
        self._kafka = kafka
        self._topic = topic_name(kafka, CONFIG)
        config = client_config(
            kafka,
            group_id=f"{kafka.prefix}published",
            enable_auto_commit=False,
            enable_partition_eof=True,
            auto_offset_reset="earliest",
            fetch_wait_max_ms=50,
            receive_message_max_bytes=RECEIVE_BYTES_MAX,
            log_level=_SILENT,
        )
        self._consumer = Consumer(config)
        try:
            self._read(deadline_s if deadline_s is not None else time.monotonic() + TIMEOUT_S)
        except BaseException:
            self._consumer.close()
            raise

    def close(self) -> None:
        """Leaves the broker."""
        self._consumer.close()

    def document(self, sha256: bytes) -> Document:
        """The document of a name."""
        return Document.parse(self.raw(sha256), sha256)

    def raw(self, sha256: bytes) -> bytes:
        """What is there under the name of a document."""
        place = self.offsets.get(sha256.hex())
        if place is None:
            raise LogError(f"the topic {self._topic} lacks document {sha256.hex()}, which a head names")
        # A copy that was written again may have been compacted away: then the newer one comes first.
        for message in self._from([TopicPartition(self._topic, *place)], time.monotonic() + TIMEOUT_S):
            if message.key() == sha256.hex().encode():
                return bytes(message.value())
        raise LogError(f"the topic {self._topic} has lost document {sha256.hex()}")

    def read_on(self, wait_s: float) -> None:
        """Takes what has come since, for at most so long."""
        message = self._consumer.poll(wait_s)
        if message is not None and message.error() is None:
            self._take(message)

    def _read(self, deadline_s: float) -> None:
        try:
            known = self._consumer.list_topics(self._topic, timeout=max(0.1, deadline_s - time.monotonic())).topics
        except KafkaException as error:
            raise KafkaUnavailable(self._kafka.bootstrap, str(error)) from error
        partitions = known[self._topic].partitions if self._topic in known else {}
        if not partitions:
            raise LogError(f"the topic {self._topic} does not exist; `ganzhi up` makes it")
        for message in self._from([TopicPartition(self._topic, number, 0) for number in partitions], deadline_s):
            self._take(message)

    def _take(self, message: Any) -> None:
        key, value = (message.key() or b"").decode("utf-8", "replace"), message.value()
        if value is None:
            return
        if key.startswith(HEAD):
            self.heads[key.removeprefix(HEAD)] = Head.parse(value)
        elif key.startswith(PENDING):
            self.pending[key.removeprefix(PENDING)] = Head.parse(value)
        else:
            self.offsets[key] = (message.partition(), message.offset())

    def _from(self, places: list[TopicPartition], deadline_s: float) -> Iterator[Any]:
        """Messages from some places to the ends of their partitions."""
        self._consumer.assign(places)
        left = {place.partition for place in places}
        while left:
            message = self._consumer.poll(max(0.0, min(1.0, deadline_s - time.monotonic())))
            if message is None:
                if time.monotonic() >= deadline_s:
                    raise KafkaUnavailable(self._kafka.bootstrap, f"{self._topic} could not be read to its end in time")
                continue
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  librdkafka's own name
                left.discard(message.partition())
            elif error.fatal() or not error.retriable():
                raise LogError(f"{self._topic} cannot be read: {error.str()}")

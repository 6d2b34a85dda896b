"""The beginning of an upgrade: an `engine` record in every input partition, at which the older release hands over.

Workers of the older release commit up to the record, leave their state there, and end when all of their partitions have
come so far. Workers of this release go on from there: they take the state, migrate it (`processors.migrations`), and
read on behind it.
"""

from processors.state import ENGINE
from schemas.control import SigningKey, engine_record
from schemas.settings import KafkaSettings
from schemas.topics import INPUTS
from streams.published import Writer, input_partitions


def request_upgrade(kafka: KafkaSettings, key: SigningKey, engine: int = ENGINE) -> int:
    """Writes the records; where a partition is computed by that engine already, they change nothing.

    Args:
        kafka: where the log is.
        key: who signs; every site's document must know it, or its partition rejects the record.
        engine: that goes on.

    Returns:
        How many partitions got one.

    Raises:
        KafkaUnavailable: no broker answers.
        LogError: topics are missing, or the broker refuses a message.
    """
    places = [(topic, partition) for topic in INPUTS for partition in range(input_partitions(kafka))]
    record = engine_record(engine - 1, engine, key)
    Writer(kafka).write([(topic, partition, "", record) for topic, partition in places])
    return len(places)

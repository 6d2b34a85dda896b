"""Every error that ganzhi raises, as one tree.

    GanzhiError
    ├─ ConfigurationError      settings are missing or contradict each other
    ├─ ContractError           bytes or documents that do not keep their contract
    │  ├─ DecodeError          a message cannot be decoded (reason, position)
    │  ├─ ChainError           a control record does not follow its predecessor
    │  ├─ SignatureError       a control record was not signed by who may sign
    │  └─ UnitError            a number, its unit and its kind do not fit each other
    ├─ ModelError              a site model or rule pack has faults (the list of them)
    │  └─ ExpressionError      an expression of a rule cannot be used (line, column)
    ├─ StackError              the embedded stack
    │  ├─ PortInUse            a port is taken by somebody else
    │  ├─ FolderInUse          another process holds the data folder
    │  └─ ChildDied            a child process ended by itself
    ├─ LogError                the Kafka log
    │  ├─ KafkaUnavailable     no broker answers
    │  ├─ LogCut               the log starts after, or ends before, the position of a task
    │  ├─ LogCorrupt           bytes of the log are not what a broker writes
    │  ├─ EngineMismatch       the log wants another release of what advance computes
    │  └─ Fenced               another process owns this partition now
    ├─ ActionError             what a person wants to do about an alert cannot be done
    ├─ SinkError
    │  ├─ ClickHouseUnavailable  nobody answers, or the server says to come back later
    │  ├─ ClickHouseRefused    the server refused a statement (its code)
    │  └─ ChannelError         a channel of the notifier cannot be used as it is set up
    └─ ReplayError
       ├─ HistoryIncomplete    part of the log, or a document it names, is missing
       └─ Difference           a replay does not give what was published

A message says what happened, where, and what to do. A bad *message of the log* is not an error: it becomes a row of
`rejected`.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class GanzhiError(Exception):
    """The root: whatever ganzhi raises on purpose."""

    exit_code = 1


class ConfigurationError(GanzhiError):
    """Settings are missing or contradict each other."""

    exit_code = 2


class ContractError(GanzhiError):
    """Bytes or documents that do not keep their contract."""


class DecodeError(ContractError):
    """A message cannot be decoded.

    Attributes:
        reason: what is wrong, in a few words.
        position: byte of the message at which reading stopped.
    """

    def __init__(self, reason: str, position: int = 0) -> None:
        self.reason = reason
        self.position = position
        super().__init__(f"{reason} at byte {position}")


class ChainError(ContractError):
    """A control record does not follow the one before it (version, previous hash)."""


class SignatureError(ContractError):
    """A control record was not signed by a key that may sign for its site."""


class UnitError(ContractError):
    """A number, its unit and its kind do not fit each other, or there is no such unit."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a site model or rule pack: where it is and what it is."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class ModelError(GanzhiError):
    """A site model or rule pack has faults; nothing of it is used.

    Attributes:
        faults: all of them, in the order of files and lines.
    """

    exit_code = 3

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        counted = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join((counted, *map(str, self.faults))))


class ExpressionError(ModelError):
    """An expression of a rule cannot be used.

    Attributes:
        reason: what is wrong and what may have been meant.
        line: line of the expression, from 1.
        column: column of that line, from 1.
    """

    def __init__(self, reason: str, line: int, column: int) -> None:
        self.reason = reason
        self.line = line
        self.column = column
        super().__init__([Fault("expression", line, f"column {column}: {reason}")])


class StackError(GanzhiError):
    """The embedded stack could not be started or kept running."""

    exit_code = 4


class PortInUse(StackError):
    """A port is taken by somebody else.

    Attributes:
        port: the port.
    """

    def __init__(self, port: int, purpose: str, setting: str) -> None:
        self.port = port
        super().__init__(
            f"port {port} for {purpose} is in use; stop whoever listens there, or choose another with {setting}"
        )


class FolderInUse(StackError):
    """Another process holds the data folder."""

    def __init__(self, folder: str, owner_pid: int | None = None) -> None:
        self.folder = folder
        self.owner_pid = owner_pid
        owner = f" by process {owner_pid}" if owner_pid else ""
        super().__init__(f"{folder} is in use{owner}; stop that process, or choose another profile with --profile")


class ChildDied(StackError):
    """A child process ended by itself.

    Attributes:
        name: which child.
        returncode: its exit status (negative: the signal).
    """

    def __init__(self, name: str, returncode: int, log_tail: str = "") -> None:
        self.name = name
        self.returncode = returncode
        super().__init__(
            f"{name} ended with status {returncode}" + (f"; its last words:\n{log_tail}" if log_tail else "")
        )


class LogError(GanzhiError):
    """The Kafka log cannot be used as it must be."""

    exit_code = 5


class KafkaUnavailable(LogError):
    """No broker answers; `bootstrap` says where one was looked for."""

    def __init__(self, bootstrap: str, detail: str = "") -> None:
        self.bootstrap = bootstrap
        super().__init__(
            f"Kafka does not answer at {bootstrap}"
            + (f": {detail}" if detail else "")
            + "; start it with `ganzhi up`, or set GANZHI_KAFKA__BOOTSTRAP"
        )


class LogCut(LogError):
    """The log starts after, or ends before, the position of a task: history is missing, and the task must not go on."""


class LogCorrupt(LogError):
    """Bytes of the log are not what a broker writes: a disk, a network or a broker is broken, or a codec is unknown.

    Attributes:
        topic: where.
        partition: where.
        offset: of the batch that cannot be read.
    """

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        self.topic = topic
        self.partition = partition
        self.offset = offset
        super().__init__(
            f"{topic} partition {partition}, batch at offset {offset}: {reason}; "
            "nothing was skipped: repair the log, or replay from an archive"
        )


class Fenced(LogError):
    """Another process owns this partition now; this one must forget its state."""


class EngineMismatch(LogError):
    """The log, or a task's position, was computed by another engine; that release of ganzhi must go on with it.

    Attributes:
        wanted: engine number of the log.
    """

    def __init__(self, wanted: int, ours: int, where: str) -> None:
        self.wanted = wanted
        super().__init__(
            f"{where} is computed by engine {wanted}, this release is engine {ours}; run a release of that engine"
        )


class ActionError(GanzhiError):
    """What a person wants to do about an alert cannot be done; the message says what is missing or wrong."""

    exit_code = 2


class SinkError(GanzhiError):
    """A sink cannot do its work."""

    exit_code = 6


class ClickHouseUnavailable(SinkError):
    """Nobody answers, or the server says to come back later; the same insert may be tried again."""


class ClickHouseRefused(SinkError):
    """The server refused a statement.

    Attributes:
        code: ClickHouse's error code, 0 where there is none.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        self.code = code
        super().__init__(message)


class ChannelError(SinkError):
    """A channel of the notifier cannot be used as it is set up: an address that may not be called, a wrong secret."""

    exit_code = 2


class ReplayError(GanzhiError):
    """A replay cannot be done, or says no."""

    exit_code = 7


class HistoryIncomplete(ReplayError):
    """Part of the log, or a document that it names, is missing."""


class Difference(ReplayError):
    """A replay does not give what was published."""

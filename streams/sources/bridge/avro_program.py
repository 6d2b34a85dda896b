"""An Avro schema as a program for the kernel: what to skip, what to keep, where to jump.

A row is (operation, argument, argument). Records are flattened, so their fields cost nothing; a union jumps to its
branch; an array or a map is a loop whose body is skipped. Schemas that contain themselves are refused: a message of a
meter does not need them, and they are how decoders die.
"""

import json
from pathlib import Path
from typing import Any, Final

import fastavro
import fastavro.schema
import numpy as np
from numpy.typing import NDArray

from schemas.errors import ConfigurationError

END, NULL, BOOLEAN, LONG, FLOAT, DOUBLE, BYTES, FIXED, ENUM, UNION, JUMP, LOOP, AGAIN, DECIMAL_BYTES, DECIMAL_FIXED = (
    range(15)
)
"""Operations. Those that read a value have the field that keeps it as first argument, or -1.

* FIXED: argument 2 is its size.
* ENUM: argument 2 is the number of symbols, plus 65536 times where they begin in the list of the field.
* UNION: argument 2 is the number of branches, whose places stand in the JUMP rows that follow.
* LOOP: argument 1 is the place behind it, argument 2 the least bytes of an item, of a map with its key.
* AGAIN: argument 1 is the place of its LOOP.
* LONG: argument 2 is 0, or 1 + the decimal places of a time in ms.
* DECIMAL_BYTES and DECIMAL_FIXED: argument 2 is the scale, of the latter plus 256 times the size.
"""

LOOPS_MAX: Final = 16
OPERATIONS_MAX: Final = 10_000
_TIMES: Final = {"timestamp-millis": 1, "timestamp-micros": 4, "timestamp-nanos": 7}
_SCALE_MAX: Final = 18


class Program:
    """A compiled schema.

    Args:
        schema: as parsed JSON.
        fields: names that are wanted; `a.b` is field b of the record a.
        name: for errors.

    Attributes:
        code: int64[operations, 3].
        symbols: field → symbols, of fields that are enums.
        fingerprint: CRC-64-AVRO of the schema, little-endian, as single-object encoding has it.

    Raises:
        ConfigurationError: it is no schema, contains itself, or a wanted field is not there or cannot be kept.
    """

    def __init__(self, schema: Any, fields: list[str], name: str) -> None:
        self._where = name
        self._wanted = {field: index for index, field in enumerate(fields)}
        self._rows: list[list[int]] = []
        self._named: dict[str, Any] = {}
        self._open: list[str] = []
        self._found: set[str] = set()
        self.symbols: dict[int, list[str]] = {}
        try:
            parsed = fastavro.parse_schema(schema)
            canonical = fastavro.schema.to_parsing_canonical_form(schema)
            self.fingerprint = bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
        except Exception as error:  # fastavro raises whatever it trips over
            raise ConfigurationError(f"{name} is no Avro schema: {error!r}") from error
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            raise ConfigurationError(f"{name}: a message must be a record")
        self._compile(parsed, "", 0)
        self._emit(END)
        self.symbols.pop(-1, None)
        missing = sorted(field for field in self._wanted if field not in self._found and not field.startswith("$"))
        if missing:
            raise ConfigurationError(f"{name} has no field {', '.join(missing)}")
        self.code: NDArray[np.int64] = np.array(self._rows, np.int64)

    def _emit(self, operation: int, first: int = -1, second: int = 0) -> int:
        if len(self._rows) >= OPERATIONS_MAX:
            raise ConfigurationError(f"{self._where} is too large")
        self._rows.append([operation, first, second])
        return len(self._rows) - 1

    def _compile(self, schema: Any, path: str, loops: int) -> int:
        """Compiles one type; returns the least bytes that a value has."""
        if isinstance(schema, list):
            return self._union(schema, path, loops)
        kind = schema["type"] if isinstance(schema, dict) else schema
        if isinstance(kind, dict | list):
            return self._compile(kind, path, loops)
        if kind in ("record", "error"):
            return self._record(schema, path, loops)
        if kind in ("array", "map"):
            return self._loop(schema, kind, path, loops)
        if kind == "enum":
            self._named[schema["name"]] = schema
            field, count = self._keep(path, loops), len(schema["symbols"])
            if count > 0xFFFF:
                raise ConfigurationError(f"{self._where}: an enum of {count} symbols")
            symbols = self.symbols.setdefault(field, [])
            self._emit(ENUM, field, count + (len(symbols) << 16))
            if field >= 0:
                symbols += schema["symbols"]
            return 1
        if kind == "fixed":
            self._named[schema["name"]] = schema
            return self._fixed(schema, path, loops)
        if kind in self._named:
            return self._compile(self._named[kind], path, loops)
        return self._primitive(kind, schema if isinstance(schema, dict) else {}, path, loops)

    def _primitive(self, kind: str, schema: dict[str, Any], path: str, loops: int) -> int:
        logical = schema.get("logicalType")
        if kind == "null":
            self._keep(path, loops)
            self._emit(NULL)
            return 0
        field = self._keep(path, loops)
        if kind == "boolean":
            self._emit(BOOLEAN, field)
        elif kind in ("int", "long"):
            self._emit(LONG, field, _TIMES.get(logical or "", 0))
        elif kind in ("float", "double"):
            self._emit(FLOAT if kind == "float" else DOUBLE, field)
            return 4 if kind == "float" else 8
        elif kind == "bytes" and logical == "decimal" and field >= 0:
            self._emit(DECIMAL_BYTES, field, self._scale(schema, path))
        elif kind in ("bytes", "string"):
            self._emit(BYTES, field)
        else:
            raise ConfigurationError(f"{self._where}: type {kind!r} is not known")
        return 1

    def _fixed(self, schema: dict[str, Any], path: str, loops: int) -> int:
        field, size = self._keep(path, loops), int(schema["size"])
        if field >= 0 and schema.get("logicalType") == "decimal":
            if not 1 <= size <= 16:
                raise ConfigurationError(f"{self._where}: {path} is a decimal of {size} bytes; at most 16 can be read")
            self._emit(DECIMAL_FIXED, field, size * 256 + self._scale(schema, path))
        else:
            self._emit(FIXED, field, size)
        return size

    def _scale(self, schema: dict[str, Any], path: str) -> int:
        scale = int(schema.get("scale", 0))
        if not 0 <= scale <= _SCALE_MAX:
            raise ConfigurationError(f"{self._where}: {path} has {scale} decimal places; at most 18 can be read")
        return scale

    def _record(self, schema: dict[str, Any], path: str, loops: int) -> int:
        name = schema["name"]
        if name in self._open:
            raise ConfigurationError(f"{self._where}: record {name} contains itself; a bridge cannot read that")
        self._named[name] = schema
        self._open.append(name)
        least = 0
        for field in schema["fields"]:
            least += self._compile(field["type"], f"{path}.{field['name']}" if path else field["name"], loops)
        self._open.pop()
        return least

    def _union(self, branches: list[Any], path: str, loops: int) -> int:
        self._emit(UNION, -1, len(branches))
        table = [self._emit(JUMP) for _ in branches]
        leaves, least = [], 1 << 20
        for place, branch in zip(table, branches, strict=True):
            self._rows[place][1] = len(self._rows)
            least = min(least, self._compile(branch, path, loops))
            leaves.append(self._emit(JUMP))
        for leave in leaves:
            self._rows[leave][1] = len(self._rows)
        return 1 + least

    def _loop(self, schema: dict[str, Any], kind: str, path: str, loops: int) -> int:
        if loops >= LOOPS_MAX:
            raise ConfigurationError(f"{self._where}: arrays and maps are nested more than {LOOPS_MAX} deep")
        at = self._emit(LOOP)
        least = 0
        if kind == "map":
            self._emit(BYTES)
            least = 1
        least += self._compile(schema["items" if kind == "array" else "values"], path, loops + 1)
        self._emit(AGAIN, at)
        # An item without bytes: as many as the message has bytes are skipped, no more.
        self._rows[at][1:] = [len(self._rows), max(least, 1)]
        return 1

    def _keep(self, path: str, loops: int) -> int:
        """The wanted field of a path; -1: not wanted."""
        field = self._wanted.get(path, -1)
        if field >= 0:
            if loops:
                raise ConfigurationError(f"{self._where}: {path} is in an array or a map; one value is wanted")
            self._found.add(path)
        return field


def load_schema(path: Path) -> Any:
    """Reads a schema file.

    Raises:
        ConfigurationError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"schema {path} cannot be read: {error}") from error

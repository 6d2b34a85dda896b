"""Reading pack files, with the file and line of every part.

Scalars of a pack file stay text (`50 W`, `20m`, `0`); anchors, tags and repeated keys are refused. `include:
builtin/NAME` brings in a pack that comes with the product, `include: NAME.yaml` a file beside it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Final, TypeAlias

import yaml
from pydantic import ValidationError

from schemas.codec import Json
from schemas.errors import Fault, ModelError
from schemas.rules.format import fields_at
from schemas.rules.language import suggest

BYTES_MAX: Final = 1 << 20
INCLUDES_MAX: Final = 8
"""Levels of files that include files."""

DEPTH_MAX: Final = 20

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
BUILT_IN: Final = "builtin/"
CASES: Final = ".cases.yaml"
"""End of the name of the file that has the cases of a pack's rules, beside the pack."""
Path_: TypeAlias = tuple[str | int, ...]


@dataclasses.dataclass(frozen=True)
class Lines:
    """Where the parts of a pack were written.

    Attributes:
        file: the pack's own file, as it is named in messages.
        places: path in the pack, as ("rules", 0, "expr") → (file, line); an included rule has the file that it came
            from.
    """

    file: str
    places: Mapping[Path_, tuple[str, int]]

    def fault(self, path: Sequence[str | int], message: str, line_of_text: int = 0) -> Fault:
        """A fault at a path, or at the nearest part above it that has a place."""
        at = tuple(path)
        while at and at not in self.places:
            at = at[:-1]
        file, line = self.places.get(at, (self.file, 0))
        return Fault(file, line + line_of_text if line else 0, message)


def built_in_packs() -> tuple[str, ...]:
    """Names that `include` takes, such as builtin/lighting."""
    folder = resources.files("schemas").joinpath("rules/packs")
    return tuple(
        sorted(
            BUILT_IN + entry.name.removesuffix(".yaml")
            for entry in folder.iterdir()
            if entry.name.endswith(".yaml") and not entry.name.endswith(CASES)
        )
    )


def read_pack(path: Path, name: str = "") -> tuple[dict[str, Json], Lines]:
    """Reads a pack file, with everything that it includes; `pack.check_packs` says if it makes sense.

    Args:
        path: the file.
        name: how messages name it; empty: its path.

    Raises:
        ModelError: it cannot be read, is not YAML, or includes what does not exist.
    """
    file = name or str(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ModelError([Fault(file, 0, f"cannot be read: {error.strerror}")]) from error
    return _read(raw, file, path.parent, 0)


def read_built_in(name: str) -> tuple[dict[str, Json], Lines]:
    """Reads a pack that comes with the product, by its name in `built_in_packs`.

    Raises:
        ModelError: there is none of that name.
    """
    if name not in built_in_packs():
        raise ModelError([Fault(name, 0, f"unknown pack{suggest(name, built_in_packs())}")])
    file = resources.files("schemas").joinpath(f"rules/packs/{name.removeprefix(BUILT_IN)}.yaml")
    return _read(file.read_bytes(), f"{name}.yaml", None, 0)


def read_cases(name: str) -> str:
    """The case file of a pack that comes with the product.

    Raises:
        ModelError: there is no such pack.
    """
    if name not in built_in_packs():
        raise ModelError([Fault(name, 0, f"unknown pack{suggest(name, built_in_packs())}")])
    file = resources.files("schemas").joinpath(f"rules/packs/{name.removeprefix(BUILT_IN)}{CASES}")
    return file.read_text("utf-8")


def _read(raw: bytes, file: str, folder: Path | None, level: int) -> tuple[dict[str, Json], Lines]:
    if len(raw) > BYTES_MAX:
        raise ModelError([Fault(file, 0, f"{len(raw)} bytes; a pack has at most {BYTES_MAX}")])
    reader = _Reader(file)
    pack = reader.document(raw)
    lines = dict(reader.places)
    if not isinstance(pack, dict):
        raise ModelError([Fault(file, 1, "a pack is a mapping with `pack` and `rules`")])
    include = pack.pop("include", None)
    wanted = [include] if isinstance(include, str) else include or []
    rules: list[Json] = []
    overrides: list[Json] = []
    places: dict[Path_, tuple[str, int]] = {
        path: place for path, place in lines.items() if path[:1] not in (("rules",), ("overrides",))
    }
    for index, one in enumerate(wanted if isinstance(wanted, list) else [wanted]):
        if level >= INCLUDES_MAX:
            raise ModelError(
                [Fault(*_place(lines, ("include", index), file), f"more than {INCLUDES_MAX} levels of includes")]
            )
        found, found_lines = _include(one, folder, level, lines, index, file)
        _append(found, found_lines.places, rules, overrides, places)
    _append(pack, lines, rules, overrides, places)
    if rules or "rules" in pack:
        pack["rules"] = rules if isinstance(pack.get("rules", []), list) else pack["rules"]
    if overrides or "overrides" in pack:
        pack["overrides"] = overrides if isinstance(pack.get("overrides", []), list) else pack["overrides"]
    return pack, Lines(file, places)


def _append(
    pack: Mapping[str, Json],
    lines: Mapping[Path_, tuple[str, int]],
    rules: list[Json],
    overrides: list[Json],
    places: dict[Path_, tuple[str, int]],
) -> None:
    """Adds the rules and overrides of a pack behind those that are there, and moves their places along."""
    for key, into in (("rules", rules), ("overrides", overrides)):
        values = pack.get(key)
        shift = len(into)
        for path, place in lines.items():
            if path and path[0] == key:
                index = path[1] if len(path) > 1 else None
                places[(key, index + shift, *path[2:]) if isinstance(index, int) else path] = place
        if isinstance(values, list):
            into.extend(values)


def _include(
    one: Json, folder: Path | None, level: int, lines: Mapping[Path_, tuple[str, int]], index: int, file: str
) -> tuple[dict[str, Json], Lines]:
    place = _place(lines, ("include", index), file)
    if not isinstance(one, str):
        raise ModelError([Fault(*place, "include names packs")])
    if one.startswith(BUILT_IN):
        if one not in built_in_packs():
            raise ModelError([Fault(*place, f"unknown pack {one!r}{suggest(one, built_in_packs())}")])
        return read_built_in(one)
    if folder is None or Path(one).name != one:
        raise ModelError([Fault(*place, f"{one!r}: only {BUILT_IN}NAME and files in the same folder can be included")])
    try:
        raw = (folder / one).read_bytes()
    except OSError as error:
        raise ModelError([Fault(*place, f"{one!r} cannot be read: {error.strerror}")]) from error
    return _read(raw, str(Path(file).parent / one), folder, level + 1)


def _place(lines: Mapping[Path_, tuple[str, int]], path: Path_, file: str) -> tuple[str, int]:
    return lines.get(path) or lines.get(path[:-1]) or (file, 0)


class _Reader:
    """YAML to dicts, lists and text, with the line of every part."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path_, tuple[str, int]] = {}

    def document(self, raw: bytes) -> Json:
        try:
            self.screen(raw)
            node = yaml.compose(raw, _LOADER)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else 0
            raise self.fail(line, f"not YAML: {error.problem or error.context or 'it cannot be read'}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ModelError([Fault(self.file, 0, "not YAML in UTF-8")]) from error
        return None if node is None else self.value(node, ())

    def screen(self, raw: bytes) -> None:
        """Refuses aliases and deep nesting before anything is built of them: brackets alone take the parser minutes."""
        depth = 0
        for event in yaml.parse(raw, _LOADER):
            line = event.start_mark.line if event.start_mark else 0
            if isinstance(event, yaml.AliasEvent):
                raise self.fail(line, "an alias (`*name`); write it out")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise self.fail(line, f"more than {DEPTH_MAX} levels of lists and mappings")

    def fail(self, line: int, message: str) -> ModelError:
        return ModelError([Fault(self.file, line + 1, message)])

    def value(self, node: yaml.Node, path: Path_) -> Json:
        block = isinstance(node, yaml.ScalarNode) and node.style in ("|", ">")
        self.places[path] = (self.file, node.start_mark.line + 1 + block)
        if isinstance(node, yaml.ScalarNode):
            return str(node.value).strip() if block else str(node.value)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        return self.mapping(node, path)

    def mapping(self, node: yaml.Node, path: Path_) -> Json:
        found: dict[str, Json] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.fail(key.start_mark.line, "a key must be a word")
            if key.value in found:
                raise self.fail(key.start_mark.line, f"{key.value!r} is given twice")
            found[key.value] = self.value(child, (*path, key.value))
            if not isinstance(child, yaml.ScalarNode):
                self.places[(*path, key.value)] = (self.file, key.start_mark.line + 1)
        return found


def format_faults(error: ValidationError, lines: Lines) -> Iterator[Fault]:
    """Faults of a pack whose format is wrong, with the keys that may have been meant."""
    for item in error.errors(include_url=False, include_input=False):
        path = tuple(part for part in item["loc"] if part != "[key]")
        kind, key = item["type"], str(path[-1]) if path else ""
        if kind == "extra_forbidden":
            message = f"unknown key {key!r}{suggest(key, fields_at(path[:-1]))}"
        elif kind == "missing":
            message = f"{key!r} is missing"
        else:
            message = f"{key}: {item['msg'].removeprefix('Value error, ')}"
        yield lines.fault(path, message)


__all__ = ["BUILT_IN", "Lines", "built_in_packs", "format_faults", "read_built_in", "read_pack"]

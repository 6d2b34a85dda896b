"""What the console says, in Chinese and English: one catalogue, `texts.csv`, a row a text."""

import csv
import functools
from pathlib import Path
from typing import Final, Literal

Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")
FILE: Final = Path(__file__).with_name("texts.csv")


@functools.cache
def catalogue() -> dict[str, dict[Language, str]]:
    """Name → the text in each language."""
    with FILE.open(encoding="utf-8", newline="") as lines:
        return {row["name"]: {"zh": row["zh"], "en": row["en"]} for row in csv.DictReader(lines)}


def text(language: Language, name: str, /, **values: object) -> str:
    """A text with its values: `text("en", "wait", seconds=8)`.

    Raises:
        KeyError: there is no such text.
    """
    found = catalogue()[name][language]
    return found.format(**values) if values else found


def word(language: Language, name: str) -> str:
    """The text of a code (a state, a severity, a sub-item), or the code itself where nobody has named it."""
    row = catalogue().get(name)
    return row[language] if row else name


def preferred(chosen: str, accepted: str) -> Language:
    """The language to speak.

    Args:
        chosen: what the person chose, or empty.
        accepted: the browser's Accept-Language.
    """
    if chosen in LANGUAGES:
        return "zh" if chosen == "zh" else "en"
    first = accepted.split(",")[0].strip().lower()
    return "zh" if first.startswith("zh") else "en"

"""Text that devices and people have set, made harmless before it goes into a message.

What is shown is what was written, but for characters that would make a reader see something else: control characters,
those that turn the direction of writing (Unicode TR 36), invisible ones, and the marks from which chat programs make
links, mentions and markup.
"""

import unicodedata
from typing import Final

_ISOLATE: Final = {
    "<": "＜", ">": "＞", "`": "ˋ", "[": "［", "]": "］", "*": "＊", "_": "＿", "#": "＃", "@": "＠", "\\": "＼",
    "|": "｜",
}  # fmt: skip
"""Full-width twins: they look alike and mean nothing to Markdown, HTML or a robot (`<at user_id="all">`, `@all`)."""
_FORMULA: Final = "=+-＝＋－"
_KEPT: Final = "\u200d"
"""The joiner of emoji and Indic letters; every other format character (category Cf) goes."""


def plain(text: str, chars_max: int = 200) -> str:
    """One line without control, direction and invisible characters, and without combining towers.

    Args:
        text: whatever somebody set.
        chars_max: longer ones end in an ellipsis.
    """
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", text[: chars_max * 4]):
        category = unicodedata.category(char)
        if category in ("Cc", "Zl", "Zp", "Zs"):
            char = " "
        elif category in ("Cf", "Cs", "Co", "Cn") and char not in _KEPT:
            continue
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks <= 3:
            kept.append(char)
    line = " ".join("".join(kept).split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"


def safe(text: str, chars_max: int = 200) -> str:
    """As `plain`, and nothing in it is markup, a mention, a link or the beginning of a formula."""
    line = "".join(_ISOLATE.get(char, char) for char in plain(text, chars_max)).replace("://", ":／／")
    return f"'{line}" if line[:1] in _FORMULA and line else line


def cut(text: str, bytes_max: int) -> str:
    """The beginning of a text that has at most so many bytes in UTF-8, cut between characters, with an ellipsis."""
    raw = text.encode()
    if len(raw) <= bytes_max:
        return text
    return raw[: max(0, bytes_max - 3)].decode("utf-8", "ignore") + ("…" if bytes_max >= 3 else "")

"""The language of rule expressions: text to a tree, with the place of every mistake.

    expression := or ; or := and ("or" and)* ; and := not ("and" not)* ; not := "not" not | comparison
    comparison := sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)?
    sum        := product (("+" | "-") product)* ; product := unary (("*" | "/") unary)* ; unary := "-" unary | primary
    primary    := number unit? | "true" | "false" | role | "$" param | function "(" arguments ")" | "(" expression ")"
    arguments  := (name | siblings: function(…))? ("," (number unit? | "$" param | flag: name))*

`FUNCTIONS` lists the functions and how many arguments each takes.

`light > 50 W and people == 0`. A number and its unit may touch (`2h`); units are those of `schemas.units`, so `min` is
a minute and `m` a metre. What a role or a schedule is, and whether dimensions fit, is for `compile` to say.
"""

import dataclasses
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final, TypeAlias

from schemas import units
from schemas.errors import ExpressionError
from schemas.rules.program import FLAGS

CHARS_MAX: Final = 2000
DEPTH_MAX: Final = 64
TOKENS_MAX: Final = 400
"""`a + a + …` makes a tree as deep as it is long; 200 levels are far from the recursion limit."""
DIGITS_MAX: Final = 18
"""More digits than an int64 holds cannot be meant."""

KEYWORDS: Final = ("and", "or", "not", "true", "false")
FUNCTIONS: Final[Mapping[str, tuple[str, int, int]]] = MappingProxyType(
    {
        "schedule": ("schedule(name)", 0, 0),
        "workday": ("workday()", 0, 0),
        "age": ("age(role)", 0, 0),
        "interval": ("interval(role)", 0, 0),
        "flag": ("flag(role, changed_without_record)", 0, 0),
        "increase": ("increase(role, 1h)", 1, 1),
        "avg_over": ("avg_over(role, 24h)", 1, 1),
        "min_over": ("min_over(role, 24h) or min_over(role, 24h, 1h)", 1, 2),
        "max_over": ("max_over(role, 24h) or max_over(role, 24h, 1h)", 1, 2),
        "quantile": ("quantile(role, 90 %, 10)", 2, 2),
        "night": ("night(role) or night(role, 5)", 0, 1),
        "baseline": ("baseline(role) or baseline(role, 28)", 0, 1),
        "siblings": ("siblings(role) or siblings(increase(role, 24h))", 0, 0),
    }
)
"""Name → how it is written, and how many arguments may follow the first one, at least and at most."""

NAMELESS: Final = ("workday",)
LOOKS_BACK: Final = ("increase", "avg_over", "min_over", "max_over", "quantile", "night", "baseline")
"""Functions over what a role was."""

COMPARISONS: Final = ("<", "<=", ">", ">=", "==", "!=")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a node begins in its expression; both count from 1."""

    line: int
    column: int


@dataclasses.dataclass(frozen=True, slots=True)
class Number:
    """A constant; `unit` is empty for a bare number."""

    place: Place
    value: Fraction
    unit: str


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """`true` or `false`."""

    place: Place
    value: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Role:
    """The value of a role."""

    place: Place
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Param:
    """`$name`: a threshold that a rule gives a default for and an override may change."""

    place: Place
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A function.

    `argument` is the first name in the parentheses, empty where there is none; `rest` what follows it; `inner` the call
    that stands in the place of a name (siblings only), of which `argument` is the role then; `word` the name that
    follows it (flag only).
    """

    place: Place
    function: str
    argument: str
    rest: tuple["Node", ...] = ()
    inner: "Call | None" = None
    word: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Unary:
    """`not x` or `-x`."""

    place: Place
    operator: str
    operand: "Node"


@dataclasses.dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and one of and, or, the comparisons, + - * /; `place` is the operator's."""

    place: Place
    operator: str
    left: "Node"
    right: "Node"


Node: TypeAlias = Number | Truth | Role | Param | Call | Unary | Binary


@dataclasses.dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: Place
    value: Fraction = Fraction(0)


_SPACE = re.compile(r"[ \t\r\n]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_UNIT = re.compile(r"[ \t]*([%％]|[^\W\d_]\w*|[°℃]\w*)(/[^\W\d_]\w*)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAM = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_SYMBOL = re.compile(r"<=|>=|==|!=|[<>+\-*/(),]")
_INSTEAD: Final = {
    "=": "==", "&": "and", "|": "or", "!": "not", "≥": ">=", "≤": "<=", "≠": "!=", "＞": ">", "＜": "<",
    "（": "(", "）": ")", "×": "*", "÷": "/", "，": ",",
}  # fmt: skip


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, the known words where none is near, or nothing."""
    words = sorted(set(known))
    near = [other for other in words if other.lower() == word.lower()] or difflib.get_close_matches(word, words, 1, 0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(words[:12])}{' …' if len(words) > 12 else ''}" if words else ""


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.line_start = 0

    def place(self) -> Place:
        return Place(self.line, self.at - self.line_start + 1)

    def tokens(self) -> list[_Token]:
        found: list[_Token] = []
        while True:
            space = _SPACE.match(self.text, self.at)
            if space:
                newlines = space.group().count("\n")
                if newlines:
                    self.line += newlines
                    self.line_start = self.at + space.group().rindex("\n") + 1
                self.at = space.end()
            if self.at == len(self.text):
                found.append(_Token("end", "", self.place()))
                return found
            found.extend(self.token())

    def token(self) -> list[_Token]:
        place = self.place()
        number = _NUMBER.match(self.text, self.at)
        if number:
            return self.number(number.group(), place)
        for kind, pattern in (("name", _NAME), ("param", _PARAM), ("symbol", _SYMBOL)):
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                word = match.group(1) if kind == "param" else match.group()
                return [_Token("symbol" if word in KEYWORDS and kind == "name" else kind, word, place)]
        wrong = self.text[self.at]
        instead = _INSTEAD.get(wrong)
        raise ExpressionError(
            f"{wrong!r} does not belong here" + (f"; did you mean {instead!r}?" if instead else ""),
            place.line,
            place.column,
        )

    def number(self, digits: str, place: Place) -> list[_Token]:
        if len(digits) > DIGITS_MAX:
            raise ExpressionError(f"a number of {len(digits)} digits; at most {DIGITS_MAX}", place.line, place.column)
        self.at += len(digits)
        found = [_Token("number", digits, place, Fraction(digits))]
        match = _UNIT.match(self.text, self.at)
        if not match or match.group(1) in KEYWORDS:
            return found
        simple, over = match.group(1), match.group(2) or ""
        self.at = match.start(1)
        unit_place = self.place()
        if over and units.known(simple + over):
            unit, self.at = simple + over, match.end()
        elif units.known(simple):
            unit, self.at = simple, match.end(1)
        else:
            near = suggest(simple + over, units.names())
            raise ExpressionError(f"unknown unit {simple + over!r}{near}", unit_place.line, unit_place.column)
        return [*found, _Token("unit", unit, unit_place)]


_POWER: Final = {"or": 1, "and": 2, **dict.fromkeys(COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6}
_NOT_POWER: Final = 3
_MINUS_POWER: Final = 7


class _Parser:
    """Pratt parser: `expression(power)` reads operators that bind tighter than `power`."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def fail(self, message: str, token: _Token | None = None) -> ExpressionError:
        place = (token or self.tokens[self.at]).place
        return ExpressionError(message, place.line, place.column)

    def next(self) -> _Token:
        token = self.tokens[self.at]
        self.at += token.kind != "end"
        return token

    def whole(self) -> Node:
        node = self.expression(0)
        rest = self.tokens[self.at]
        if rest.kind != "end":
            hint = suggest(rest.text, ("and", "or")) if rest.kind == "name" else ""
            hint = "; did you mean 'and'?" if rest.text == "," else hint
            raise self.fail(f"{rest.text!r} is not expected here; an operator, or the end, is{hint}")
        return node

    def expression(self, power: int) -> Node:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise self.fail(f"more than {DEPTH_MAX} levels of nesting")
        left = self.prefix()
        while True:
            token = self.tokens[self.at]
            mine = _POWER.get(token.text, 0) if token.kind == "symbol" else 0
            if mine <= power:
                break
            self.at += 1
            right = self.expression(mine)
            left = Binary(token.place, token.text, left, right)
            following = self.tokens[self.at]
            if mine == _POWER["<"] and following.kind == "symbol" and following.text in COMPARISONS:
                raise self.fail("comparisons cannot be chained; write `a < b and b < c`")
        self.depth -= 1
        return left

    def prefix(self) -> Node:
        token = self.next()
        if token.kind == "number":
            unit = self.next().text if self.tokens[self.at].kind == "unit" else ""
            return Number(token.place, token.value, unit)
        if token.kind == "param":
            return Param(token.place, token.text)
        if token.kind == "name":
            return self.call(token) if self.tokens[self.at].text == "(" else Role(token.place, token.text)
        if token.kind == "symbol":
            known = self.symbols().get(token.text)
            if known:
                return known(token)
        raise self.fail(
            f"{token.text!r} is not expected here; a value is"
            if token.text
            else "the expression ends where a value is expected",
            token,
        )

    def symbols(self) -> dict[str, Callable[[_Token], Node]]:
        return {
            "true": lambda token: Truth(token.place, True),
            "false": lambda token: Truth(token.place, False),
            "not": lambda token: Unary(token.place, "not", self.expression(_NOT_POWER)),
            "-": lambda token: Unary(token.place, "-", self.expression(_MINUS_POWER)),
            "(": self.parentheses,
        }

    def parentheses(self, opening: _Token) -> Node:
        node = self.expression(0)
        if self.next().text != ")":
            raise self.fail("this parenthesis is not closed", opening)
        return node

    def call(self, name: _Token) -> Call:
        if name.text not in FUNCTIONS:
            raise self.fail(f"unknown function {name.text!r}{suggest(name.text, FUNCTIONS)}", name)
        self.at += 1
        written, least, most = FUNCTIONS[name.text]
        argument, inner = "", None
        if name.text not in NAMELESS:
            token = self.next()
            if token.kind != "name":
                raise self.fail(f"{name.text}() needs a name in its parentheses: {written}", token)
            argument = token.text
            if name.text == "siblings" and self.tokens[self.at].text == "(":
                inner = self.call(token)
                if inner.function not in LOOKS_BACK:
                    raise self.fail(f"siblings() takes a role or a function over its past: {written}", token)
                argument = inner.argument
        word = self.word(written) if name.text == "flag" else ""
        rest = []
        while self.tokens[self.at].text == ",":
            self.at += 1
            rest.append(self.literal(written))
        token = self.next()
        if token.text != ")":
            raise self.fail(f"{name.text}() is written {written}", token)
        if not least <= len(rest) <= most:
            raise self.fail(f"{name.text}() is written {written}", name)
        return Call(name.place, name.text, argument, tuple(rest), inner, word)

    def word(self, written: str) -> str:
        """What a flag is called."""
        comma, token = self.next(), self.next()
        if comma.text != ",":
            raise self.fail(f"flag() is written {written}", comma)
        if token.text not in FLAGS:
            raise self.fail(f"unknown flag {token.text!r}{suggest(token.text, FLAGS)}", token)
        return token.text

    def literal(self, written: str) -> Node:
        token = self.next()
        if token.kind not in ("number", "param"):
            raise self.fail(f"a number or a $parameter is expected here: {written}", token)
        self.at -= 1
        return self.prefix()


def parse(text: str) -> Node:
    """Reads an expression of at most `CHARS_MAX` characters and `DEPTH_MAX` levels.

    Raises:
        ExpressionError: what is wrong, at which line and column, and what may have been meant.
    """
    if len(text) > CHARS_MAX:
        raise ExpressionError(f"an expression of {len(text)} characters; at most {CHARS_MAX}", 1, 1)
    tokens = _Scanner(text).tokens()
    if len(tokens) > TOKENS_MAX:
        raise ExpressionError(f"an expression of {len(tokens)} words and signs; at most {TOKENS_MAX}", 1, 1)
    return _Parser(tokens).whole()


def walk(node: Node) -> Iterable[Node]:
    """The node and everything below it, from left to right."""
    yield node
    if isinstance(node, Unary):
        yield from walk(node.operand)
    elif isinstance(node, Binary):
        yield from walk(node.left)
        yield from walk(node.right)
    elif isinstance(node, Call):
        for one in (*node.rest, *([node.inner] if node.inner else ())):
            yield from walk(one)

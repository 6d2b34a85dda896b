"""From the tree of an expression to a program.

Types and dimensions are checked, constants are folded, units are converted exactly. A measured value is an int64 count
of steps; a step is a fraction of the base unit of its dimension (a power gauge in W counts thousandths, so its step is
1/1000 W). Nothing is rounded: multiplying by a constant only changes the step; sums and comparisons bring both sides to
their common step; `x > c` with c between two steps compares with the step below, which is the same. Only the quotient
of two measured values is cut: to a millionth of the quotient of their steps, towards minus infinity.

What looks back (`increase(role, 1h)` and the like) is a look of the program: the compiler says over which cells, the
engine keeps them.

A role that the subject does not have (an optional one) leaves out the operand of and/or that reads it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, TypeAlias

from schemas.errors import ExpressionError
from schemas.rules.evaluate import INT64_MAX, INT64_MIN
from schemas.rules.language import (
    COMPARISONS,
    FUNCTIONS,
    LOOKS_BACK,
    Binary,
    Call,
    Node,
    Number,
    Param,
    Place,
    Role,
    Truth,
    Unary,
    suggest,
)
from schemas.rules.program import CELL_MS, CELLS_MAX, DAYS_MAX, FLAG_ROLES, FLAGS, LOOKS_MAX, STACK_MAX, Fn, Look, Op
from schemas.rules.quantities import DIMENSIONLESS, DURATION, Dimension, Quantity, describe, hourly, literal, rate
from schemas.rules.schedules import WORKDAY

QUOTIENT_STEPS: Final = 1_000_000
Code: TypeAlias = tuple[tuple[int, int], ...]

_OP: Final = {
    "<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE, "==": Op.EQ, "!=": Op.NE,
    "and": Op.AND, "or": Op.OR, "+": Op.ADD, "-": Op.SUB,
}  # fmt: skip
_FLIPPED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_BINARY: Final = frozenset(op for op in Op if op >= Op.ADD and op not in (Op.NEG, Op.NOT))


@dataclasses.dataclass(frozen=True)
class Scope:
    """What the names of an expression mean for one variant of a rule.

    Attributes:
        roles: name → quantity, in the order of their indices; None: anything that is read (only `age` and `interval`
            make sense of it).
        params: name → literal.
        schedules: name → index; `workday` is one of them.
        intervals: role → milliseconds between its readings; a role without one has none here.
        absent: optional roles that the subject does not have.
        cell_ms: length of a cell of what looks back.
    """

    roles: Mapping[str, Quantity | None]
    params: Mapping[str, Node]
    schedules: Mapping[str, int]
    intervals: Mapping[str, int]
    absent: frozenset[str] = frozenset()
    cell_ms: int = CELL_MS


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled expression.

    Attributes:
        code: (operation, argument), see `program.Op`.
        ages: (role index, age in ms from which on the result may differ), so that a timer can wake in time.
        schedules: indices that it reads.
        reads: indices of roles whose value, age or past it reads.
        looks: what WINDOW and SIBLINGS mean, by their argument.
    """

    code: Code
    ages: tuple[tuple[int, int], ...]
    schedules: tuple[int, ...]
    reads: tuple[int, ...]
    looks: tuple[Look, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Constant:
    value: Fraction
    dimension: Dimension


@dataclasses.dataclass(frozen=True)
class _Measured:
    code: Code
    dimension: Dimension
    step: Fraction
    state: bool = False
    age_of: int = -1
    """Role index of a bare age(), however scaled; -2: an age inside of arithmetic."""


@dataclasses.dataclass(frozen=True)
class _Logic:
    code: Code


class _Absent:
    """Reads a role that is not there."""


_ABSENT: Final = _Absent()
_Value: TypeAlias = _Constant | _Measured | _Logic | bool | _Absent


def compile_expression(node: Node, scope: Scope) -> Program | None:
    """Compiles an expression whose result is a truth.

    Returns:
        The program; None when all of it reads roles that are absent.

    Raises:
        ExpressionError: unknown names, dimensions that do not fit, a result that is no truth or never changes, or too
            deep a stack.
    """
    compiler = _Compiler(scope)
    found = compiler.logic(node, compiler.lower(node))
    if isinstance(found, _Absent):
        return None
    if isinstance(found, bool):
        raise _fail(node, f"it is always {str(found).lower()}; an expression must depend on a role or a schedule")
    return compiler.program(found.code, node)


def compile_estimate(node: Node, scope: Scope) -> Program | None:
    """Compiles the flow that a rule estimates: an hour of it in the smallest unit of what its roles count.

    Returns:
        The program, whose result is that integer, rounded towards minus infinity; None when all of it reads roles that
        are absent.

    Raises:
        ExpressionError: unknown names, or it is no flow of something that is counted.
    """
    compiler = _Compiler(scope)
    found = compiler.lower(node)
    if isinstance(found, _Absent):
        return None
    if not isinstance(found, _Measured) or _aged(found):
        raise _fail(node, "an estimate is a flow that is measured, as `flow` or `min_over(water, 24h, 1h)`")
    step = hourly(found.dimension)
    if step is None:
        raise _fail(node, f"this is {describe(found.dimension)}; an estimate is a flow, as of L/h or W")
    factor = found.step / step
    scaling: Code = ()
    if factor != 1:
        scaling = (
            (Op.PUSH, compiler.int64(node, factor.numerator)),
            (Op.MUL, compiler.int64(node, factor.denominator)),
        )
    return compiler.program((*found.code, *scaling), node)


def stack_depth(code: Code) -> int:
    """The deepest that the stack gets."""
    depth = deepest = 0
    for op, _ in code:
        depth += -1 if op in _BINARY else 0 if op in (Op.NEG, Op.NOT) else 1
        deepest = max(deepest, depth)
    return deepest


def _fail(node: Node, message: str) -> ExpressionError:
    return ExpressionError(message, node.place.line, node.place.column)


def _common(left: Fraction, right: Fraction) -> Fraction:
    """The largest step of which both are whole multiples."""
    return Fraction(
        math.gcd(left.numerator * right.denominator, right.numerator * left.denominator),
        left.denominator * right.denominator,
    )


class _Compiler:
    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.indices = {name: index for index, name in enumerate(scope.roles)}
        self.ages: set[tuple[int, int]] = set()
        self.looks: list[Look] = []

    def program(self, code: Code, node: Node) -> Program:
        """The program of a code, with what it reads.

        Raises:
            ExpressionError: its stack is too deep.
        """
        if stack_depth(code) > STACK_MAX:
            raise _fail(node, f"it needs a stack of {stack_depth(code)}, at most {STACK_MAX}; nest less to the right")
        reads = {argument for op, argument in code if op in (Op.LOAD, Op.AGE)}
        reads |= {argument % FLAG_ROLES for op, argument in code if op == Op.FLAG}
        looks = {argument for op, argument in code if op in (Op.WINDOW, Op.SIBLINGS)}
        reads |= {self.looks[argument].role for argument in looks}
        schedules = sorted({argument for op, argument in code if op == Op.SCHEDULE})
        return Program(code, tuple(sorted(self.ages)), tuple(schedules), tuple(sorted(reads)), tuple(self.looks))

    def lower(self, node: Node) -> _Value:
        if isinstance(node, Number):
            return _Constant(*literal(node))
        if isinstance(node, Truth):
            return node.value
        if isinstance(node, Role):
            return self.role(node)
        if isinstance(node, Param):
            return self.param(node)
        if isinstance(node, Call):
            return self.call(node)
        if isinstance(node, Unary):
            return self.unary(node)
        if node.operator in ("and", "or"):
            return self.connect(node)
        left, right = self.lower(node.left), self.lower(node.right)
        if isinstance(left, _Absent) or isinstance(right, _Absent):
            return _ABSENT
        return self.compare(node, left, right) if node.operator in COMPARISONS else self.arithmetic(node, left, right)

    def logic(self, node: Node, value: _Value) -> _Logic | bool | _Absent:
        if isinstance(value, _Measured) and value.state:
            return _Logic((*value.code, (Op.PUSH, 0), (Op.NE, 0)))
        if isinstance(value, _Measured | _Constant):
            raise _fail(node, f"this is {describe(value.dimension)}, not a truth; compare it with something")
        return value

    def index(self, node: Role | Call, name: str) -> int:
        if name not in self.indices:
            raise _fail(node, f"unknown role {name!r}{suggest(name, self.indices)}")
        return self.indices[name]

    def role(self, node: Role) -> _Value:
        index = self.index(node, node.name)
        if node.name in self.scope.absent:
            return _ABSENT
        quantity = self.scope.roles[node.name]
        if quantity is None:
            raise _fail(
                node, f"{node.name!r} may be anything; only age({node.name}) and interval({node.name}) can be used"
            )
        return _Measured(((Op.LOAD, index),), quantity.dimension, quantity.step, quantity.state)

    def param(self, node: Param) -> _Value:
        if node.name not in self.scope.params:
            raise _fail(node, f"unknown parameter ${node.name}{suggest(node.name, self.scope.params)}")
        found = self.scope.params[node.name]
        try:
            return self.lower(found)
        except ExpressionError as error:
            raise _fail(node, f"${node.name}: {error.reason}") from error

    def call(self, node: Call) -> _Value:
        if node.function in ("schedule", "workday"):
            name = node.argument or WORKDAY
            if name not in self.scope.schedules:
                raise _fail(node, f"unknown schedule {name!r}{suggest(name, self.scope.schedules)}")
            return _Logic(((Op.SCHEDULE, self.scope.schedules[name]),))
        index = self.index(node, node.argument)
        if node.argument in self.scope.absent:
            return _ABSENT
        if node.function == "siblings":
            return self.siblings(node, index)
        if node.function in LOOKS_BACK:
            look, quantity = self.past(node, index)
            return self.looking(Op.WINDOW, node, look, quantity)
        if node.function == "flag":
            return _Logic(((Op.FLAG, index + FLAG_ROLES * FLAGS[node.word]),))
        if node.function == "age":
            return _Measured(((Op.AGE, index),), DURATION, Fraction(1, 1000), age_of=index)
        if node.argument not in self.scope.intervals:
            raise _fail(node, f"the points of {node.argument!r} have no interval")
        return _Constant(Fraction(self.scope.intervals[node.argument], 1000), DURATION)

    def looking(self, op: Op, node: Call, look: Look, quantity: Quantity) -> _Measured:
        if look not in self.looks:
            self.looks.append(look)
        if len(self.looks) > LOOKS_MAX:
            raise _fail(node, f"more than {LOOKS_MAX} functions over the past in one expression")
        return _Measured(((op, self.looks.index(look)),), quantity.dimension, quantity.step)

    def siblings(self, node: Call, index: int) -> _Measured:
        if node.inner is None:
            quantity = self.scope.roles[node.argument]
            if quantity is None:
                raise _fail(node, f"{node.argument!r} may be anything; siblings() needs to know what")
            return self.looking(Op.SIBLINGS, node, Look(Fn.NOW, index, siblings=1), quantity)
        look, quantity = self.past(node.inner, index)
        return self.looking(Op.SIBLINGS, node, look._replace(siblings=1), quantity)

    def past(self, node: Call, index: int) -> tuple[Look, Quantity]:
        """The look of a function over the past of a role, and what its value means."""
        quantity = self.scope.roles[node.argument]
        if quantity is None:
            raise _fail(node, f"{node.argument!r} may be anything; {node.function}() needs to know what")
        arguments = [self.lower(one) for one in node.rest]
        cell_ms = self.scope.cell_ms
        if node.function in ("night", "baseline"):
            before = node.function == "baseline"
            count = self.whole(node, 0, arguments, 28, 2) if before else self.whole(node, 0, arguments, 0, 2)
            look = Look(Fn.BASELINE if before else Fn.NIGHT, index, days=count)
            return look, self.over(node, quantity, cell_ms)
        if node.function == "quantile":
            part = arguments[0]
            if not (isinstance(part, _Constant) and part.dimension == DIMENSIONLESS and 0 <= part.value <= 1):
                raise _fail(node.rest[0], "this is not a share from 0 % to 100 %")
            if (part.value * 1000).denominator != 1:
                raise _fail(node.rest[0], "a share has at most one decimal of a percent")
            look = Look(Fn.QUANTILE, index, nth=int(part.value * 1000), days=self.whole(node, 1, arguments, 0, 1))
            return look, self.over(node, quantity, cell_ms)
        cells = self.cells(node, 0, arguments)
        if node.function == "increase":
            if not quantity.counter:
                raise _fail(node, f"{node.argument!r} is no counter, it has no increase; did you mean 'avg_over'?")
            return Look(Fn.INCREASE, index, cells), quantity
        if node.function == "avg_over":
            return Look(Fn.AVG, index, cells), self.over(node, quantity, cell_ms)
        bucket = self.cells(node, 1, arguments) if len(arguments) > 1 else 0
        if bucket and cells % bucket:
            raise _fail(node.rest[1], "the span is not a whole number of these")
        fn = Fn.MIN if node.function == "min_over" else Fn.MAX
        if not quantity.counter and not bucket:
            return Look(fn, index, cells, 0), dataclasses.replace(quantity, state=False)
        return Look(fn, index, cells, bucket or 1), self.over(node, quantity, cell_ms * (bucket or 1))

    def over(self, node: Call, quantity: Quantity, over_ms: int) -> Quantity:
        """What a mean over a span is: of a gauge the same, of a state thousandths, of a counter a rate."""
        if quantity.counter:
            found = rate(quantity, over_ms)
            if found is None:
                raise _fail(node, f"what {node.argument!r} counts has no rate; only increase({node.argument}, …) fits")
            return found
        return Quantity(quantity.dimension, quantity.step / 1000 if quantity.state else quantity.step)

    def cells(self, node: Call, place: int, arguments: Sequence[_Value]) -> int:
        """A span as a number of cells; nothing but minutes can be meant by `30m`."""
        value, written = arguments[place], node.rest[place]
        if isinstance(written, Param):
            written = self.scope.params[written.name]
        if isinstance(written, Number) and written.unit == "m":
            value = self.lower(dataclasses.replace(written, unit="min"))
        if not isinstance(value, _Constant) or value.dimension != DURATION:
            raise _fail(node.rest[place], f"a span of time is expected: {FUNCTIONS[node.function][0]}")
        count = value.value * 1000 / self.scope.cell_ms
        if count.denominator != 1 or not 0 < count <= CELLS_MAX:
            minutes = self.scope.cell_ms // 60_000
            raise _fail(node.rest[place], f"spans are whole multiples of {minutes} minutes, up to 35 days")
        return int(count)

    def whole(self, node: Call, place: int, arguments: Sequence[_Value], default: int, least: int) -> int:
        """A number of nights or days."""
        if len(arguments) <= place:
            return default
        value = arguments[place]
        if not (isinstance(value, _Constant) and value.dimension == DIMENSIONLESS and value.value.denominator == 1):
            raise _fail(node.rest[place], f"a whole number is expected: {FUNCTIONS[node.function][0]}")
        if not least <= value.value <= DAYS_MAX:
            raise _fail(node.rest[place], f"{least} to {DAYS_MAX} are possible")
        return int(value.value)

    def unary(self, node: Unary) -> _Value:
        value = self.lower(node.operand)
        if node.operator == "not":
            truth = self.logic(node.operand, value)
            return (
                _Logic((*truth.code, (Op.NOT, 0)))
                if isinstance(truth, _Logic)
                else truth
                if isinstance(truth, _Absent)
                else not truth
            )
        if isinstance(value, _Constant):
            return _Constant(-value.value, value.dimension)
        if isinstance(value, _Measured):
            return self.scaled(value, Fraction(-1))
        if isinstance(value, _Absent):
            return value
        raise _fail(node, "a truth cannot be negative; write `not`")

    def connect(self, node: Binary) -> _Value:
        left = self.logic(node.left, self.lower(node.left))
        right = self.logic(node.right, self.lower(node.right))
        if isinstance(left, _Absent):
            return right
        if isinstance(right, _Absent):
            return left
        wins = node.operator == "or"
        for constant, other in ((left, right), (right, left)):
            if isinstance(constant, bool):
                return wins if constant == wins else other
        assert isinstance(left, _Logic) and isinstance(right, _Logic)
        return _Logic((*left.code, *right.code, (_OP[node.operator], 0)))

    def arithmetic(self, node: Binary, left: _Value, right: _Value) -> _Value:
        for side, value in ((node.left, left), (node.right, right)):
            if isinstance(value, _Logic | bool):
                raise _fail(side, f"a truth cannot be used with {node.operator!r}")
        assert isinstance(left, _Constant | _Measured) and isinstance(right, _Constant | _Measured)
        if node.operator in ("+", "-"):
            return self.sum(node, left, right)
        return self.product(node, left, right) if node.operator == "*" else self.quotient(node, left, right)

    def sum(self, node: Binary, left: _Constant | _Measured, right: _Constant | _Measured) -> _Constant | _Measured:
        self.same_dimension(node, left, right)
        if isinstance(left, _Constant) and isinstance(right, _Constant):
            return _Constant(
                left.value + right.value if node.operator == "+" else left.value - right.value, left.dimension
            )
        for constant, other in ((left, right), (right, left)):
            if isinstance(constant, _Constant) and constant.value == 0 and isinstance(other, _Measured):
                return self.scaled(other, Fraction(-1)) if other is right and node.operator == "-" else other
        step = _common(_step(left), _step(right))
        code = (*self.at_step(node.left, left, step), *self.at_step(node.right, right, step), (_OP[node.operator], 0))
        return _Measured(code, left.dimension, step, age_of=-2 if _aged(left) or _aged(right) else -1)

    def product(self, node: Binary, left: _Constant | _Measured, right: _Constant | _Measured) -> _Constant | _Measured:
        dimension = left.dimension.times(right.dimension)
        if isinstance(left, _Constant):
            if isinstance(right, _Constant):
                return _Constant(left.value * right.value, dimension)
            left, right = right, left
        if isinstance(right, _Constant):
            if right.value == 0:
                raise _fail(node, "multiplied by zero")
            return dataclasses.replace(self.scaled(left, right.value), dimension=dimension)
        code = (*left.code, *right.code, (Op.MUL, 1))
        return _Measured(code, dimension, left.step * right.step, age_of=-2 if _aged(left) or _aged(right) else -1)

    def quotient(
        self, node: Binary, left: _Constant | _Measured, right: _Constant | _Measured
    ) -> _Constant | _Measured:
        dimension = left.dimension.over(right.dimension)
        if isinstance(right, _Constant):
            if right.value == 0:
                raise _fail(node, "divided by zero")
            if isinstance(left, _Constant):
                return _Constant(left.value / right.value, dimension)
            return dataclasses.replace(self.scaled(left, 1 / right.value), dimension=dimension)
        step = left.step if isinstance(left, _Measured) else _common(_step(left), right.step)
        code = (*self.at_step(node.left, left, step), *right.code, (Op.DIV, QUOTIENT_STEPS))
        return _Measured(
            code, dimension, step / right.step / QUOTIENT_STEPS, age_of=-2 if _aged(left) or _aged(right) else -1
        )

    def compare(self, node: Binary, left: _Value, right: _Value) -> _Value:
        if isinstance(left, _Logic | bool) or isinstance(right, _Logic | bool):
            return self.compare_truths(node, left, right)
        assert isinstance(left, _Constant | _Measured) and isinstance(right, _Constant | _Measured)
        self.same_dimension(node, left, right)
        operator = node.operator
        if isinstance(left, _Constant):
            if isinstance(right, _Constant):
                return _holds(operator, left.value, right.value)
            left, right, operator = right, left, _FLIPPED[operator]
        if isinstance(right, _Constant):
            return self.compare_constant(node, left, operator, right)
        if _aged(left) or _aged(right):
            raise _fail(node, "age() can only be compared with a constant, as in `age(x) > 15 min`")
        step = _common(left.step, right.step)
        return _Logic(
            (*self.at_step(node.left, left, step), *self.at_step(node.right, right, step), (_OP[operator], 0))
        )

    def compare_constant(self, node: Binary, left: _Measured, operator: str, right: _Constant) -> _Value:
        steps = right.value / left.step
        if steps.denominator != 1 and operator in ("==", "!="):
            raise _fail(
                node, "these can never be equal: the constant lies between two steps of the measured value; use < or >"
            )
        bound = math.floor(steps) if operator in (">", "<=") else math.ceil(steps)
        if left.age_of == -2:
            raise _fail(node, "age() can only be compared with a constant, as in `age(x) > 15 min`")
        if left.age_of >= 0:
            changes = {"<": (0,), ">=": (0,), "<=": (1,), ">": (1,)}.get(operator, (0, 1))
            self.ages.update((left.age_of, bound + change) for change in changes if bound + change > 0)
        return _Logic((*left.code, (Op.PUSH, self.int64(node, bound)), (_OP[operator], 0)))

    def compare_truths(self, node: Binary, left: _Value, right: _Value) -> _Value:
        if node.operator not in ("==", "!="):
            raise _fail(node, f"truths have no order; {node.operator!r} cannot compare them")
        first, second = self.logic(node.left, left), self.logic(node.right, right)
        if isinstance(first, bool) and isinstance(second, bool):
            return (first == second) == (node.operator == "==")
        for constant, other in ((first, second), (second, first)):
            if isinstance(constant, bool) and isinstance(other, _Logic):
                return other if constant == (node.operator == "==") else _Logic((*other.code, (Op.NOT, 0)))
        assert isinstance(first, _Logic) and isinstance(second, _Logic)
        return _Logic((*first.code, *second.code, (_OP[node.operator], 0)))

    def same_dimension(self, node: Binary, left: _Constant | _Measured, right: _Constant | _Measured) -> None:
        if left.dimension != right.dimension:
            sides = f"{describe(left.dimension)} {node.operator} {describe(right.dimension)}"
            raise _fail(node, f"{sides}: the dimensions do not fit{_hint(left, right)}")

    def scaled(self, value: _Measured, factor: Fraction) -> _Measured:
        """The value times a constant: another step, and a sign."""
        if factor > 0:
            return dataclasses.replace(value, step=value.step * factor, state=False)
        return _Measured(
            (*value.code, (Op.NEG, 0)), value.dimension, value.step * -factor, age_of=-2 if _aged(value) else -1
        )

    def at_step(self, node: Node, value: _Constant | _Measured, step: Fraction) -> Code:
        """The code that leaves the value as a count of `step`, of which its own step is a whole multiple."""
        if isinstance(value, _Constant):
            return ((Op.PUSH, self.int64(node, int(value.value / step))),)
        factor = int(value.step / step)
        return value.code if factor == 1 else (*value.code, (Op.PUSH, self.int64(node, factor)), (Op.MUL, 1))

    def int64(self, node: Node, value: int) -> int:
        if not INT64_MIN <= value <= INT64_MAX:
            raise _fail(node, "a constant is outside of int64 in the steps of the measured value")
        return value


def _step(value: _Constant | _Measured) -> Fraction:
    """Step of a value; of a constant, one of which it is a whole multiple."""
    if isinstance(value, _Measured):
        return value.step
    return abs(value.value) if value.value else Fraction(1)


def _aged(value: _Constant | _Measured) -> bool:
    return isinstance(value, _Measured) and value.age_of != -1


def _holds(operator: str, left: Fraction, right: Fraction) -> bool:
    order = (left > right) - (left < right)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0, "==": order == 0}.get(
        operator, order != 0
    )


def _hint(left: _Constant | _Measured, right: _Constant | _Measured) -> str:
    bare = any(isinstance(one, _Constant) and one.dimension == DIMENSIONLESS for one in (left, right))
    return "; a number needs a unit here, as in `50 W`" if bare else ""


__all__ = ["Code", "Place", "Program", "Scope", "compile_estimate", "compile_expression", "stack_depth"]

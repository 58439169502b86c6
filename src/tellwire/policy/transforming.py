"""Transforms: a JMESPath expression that makes what a subscription sends out of an event.

An expression is compiled when its subscription is read. Strangers write it, so it is bounded twice: in its length, its
nodes and its depth before it is stored, and in its work each time it is asked (`STEPS`). Steps are counted, not timed,
so that the same event has the same outcome on every machine: one for each node that is visited, and more for whatever
goes through a value as a whole, before it does so. No value can become larger than the steps that it took to make it.

Numbers with a fraction or an exponent are written as they were published where they are passed on; in arithmetic they
are binary floating point, as JMESPath has it. Source: the specification of JMESPath, https://jmespath.org/specification.html
"""

from collections.abc import Iterator
from typing import Any, Final

import jmespath
import msgspec
from jmespath import exceptions, functions
from jmespath.visitor import Options, TreeInterpreter

from ..errors import FieldError, InvalidInputError, LimitExceededError
from ..model.limits import MAX_PAYLOAD_HARD_BYTES, Limits

STEPS: Final = 200_000
"""What one event may take."""
MAX_NODES: Final = 500
"""How many nodes the syntax tree of an expression may have."""
MAX_DEPTH: Final = 50
"""How deep it may be."""

_CHARS_PER_STEP: Final = 32
_MAX_SHOWN_CHARS: Final = 40
_TABLE: Final = functions.Functions.FUNCTION_TABLE


class TransformError(Exception):
    """An expression gives nothing that can be sent for this event; the text says why, and quotes nothing of it."""


class SpentError(TransformError):
    """The steps that were allowed are used up; with more of them, there might be a result."""


class Transform(msgspec.Struct, frozen=True, eq=False):
    """A compiled expression; made by `compile_transform`."""

    tree: Any

    def apply(
        self, id: str, type: str, tenant: str, timestamp: str, data: bytes, *, steps: int = STEPS
    ) -> bytes:
        """What the expression makes of an event in at most so many steps, as JSON text of at most 1 MiB.

        Raises:
            TransformError: a function was given what it does not take; too much work; too large a result.
        """
        try:
            event = {"id": id, "type": type, "tenant": tenant, "timestamp": timestamp, "data": _decode(data)}
            interpreter = _Counting(steps)
            result = interpreter.visit(self.tree, event)
            interpreter.weigh(result)
            made: bytes = _encode(result)
        except TransformError:
            raise
        except exceptions.JMESPathTypeError as error:
            expected = " or ".join(error.expected_types).replace("-", " of ")
            got = functions.TYPES_MAP.get(error.actual_type, error.actual_type)
            told = f"the function {error.function_name} takes {expected}, and got {got}"
            raise TransformError(f"the transform failed: {told}") from None
        except RecursionError:
            raise TransformError("the transform failed: its result is nested too deeply") from None
        except Exception as error:
            # Whatever a library of others may raise for the data of others is the outcome of this event alone.
            raise TransformError(f"the transform failed: {_named(error)}") from None
        if len(made) > MAX_PAYLOAD_HARD_BYTES:
            told = f"its result has {len(made)} bytes; at most {MAX_PAYLOAD_HARD_BYTES} are sent"
            raise TransformError(f"the transform failed: {told}")
        return made


def compile_transform(expression: str) -> Transform:
    """Compile an expression.

    Raises:
        InvalidInputError: it is no JMESPath expression, with the place of the error; or it calls a function that there
            is not, or with too few or too many arguments.
        LimitExceededError: it has too many nodes, or is too deep.
    """
    try:
        expression.encode()
        tree = jmespath.compile(expression).parsed
    except exceptions.EmptyExpressionError:
        raise InvalidInputError.at(msg="must not be empty") from None
    except exceptions.ParseError as error:
        raise InvalidInputError.at(msg=f"is no JMESPath expression: {_told(error, expression)}") from None
    except RecursionError:
        raise _over(
            "transform_depth", MAX_DEPTH, f"is nested too deeply; {MAX_DEPTH} levels are allowed"
        ) from None
    except ValueError as error:
        raise InvalidInputError.at(msg=f"is no JMESPath expression: {_named(error)}") from None
    for nodes, (node, depth) in enumerate(_nodes(tree), 1):
        if depth > MAX_DEPTH:
            raise _over("transform_depth", MAX_DEPTH, f"is nested too deeply; {MAX_DEPTH} levels are allowed")
        if nodes > MAX_NODES:
            raise _over("transform_nodes", MAX_NODES, f"has too many parts; {MAX_NODES} are allowed")
        _check_node(node)
    return Transform(tree)


def check_transform(expression: str, limits: Limits) -> None:
    """Check an expression before it is stored. Raises what `compile_transform` raises, and where it is too long."""
    most = limits.transform_chars
    if len(expression) > most:
        raise _over("transform_chars", most, f"must have at most {most} characters")
    compile_transform(expression)


def _nodes(tree: Any) -> Iterator[tuple[Any, int]]:
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack += [(child, depth + 1) for child in node["children"] if isinstance(child, dict)]


def _check_node(node: Any) -> None:
    """What the parser lets pass, and only fails when it is asked."""
    kind = node["type"]
    if kind == "function_expression":
        _check_call(node["value"], len(node["children"]))
    elif kind == "slice" and node["children"][2] == 0:
        raise InvalidInputError.at(msg="has a slice whose step is 0")


def _check_call(name: str, given: int) -> None:
    known = _TABLE.get(name)
    if known is None:
        raise InvalidInputError.at(msg=f"calls {_short(name)}, which is none of {', '.join(sorted(_TABLE))}")
    taken = known["signature"]
    variadic = bool(taken and taken[-1].get("variadic"))
    if given < len(taken) or (given > len(taken) and not variadic):
        most = " or more" if variadic else ""
        raise InvalidInputError.at(msg=f"calls {name} with {given} arguments; it takes {len(taken)}{most}")


def _told(error: exceptions.ParseError, expression: str) -> str:
    match error:
        case exceptions.IncompleteExpressionError():
            return "it ends too early"
        case exceptions.LexerError():
            at, what = error.lexer_position, error.message
        case _:
            at, what = error.lex_position, f"unexpected {_short(str(error.token_value))}"
    if at >= len(expression):
        return "it ends too early"
    return f"{what} (character {at + 1})"


def _over(limit: str, maximum: int, msg: str) -> LimitExceededError:
    return LimitExceededError([FieldError((), msg)], limit=limit, maximum=maximum)


def _short(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "...")


def _named(error: Exception) -> str:
    """What kind of error it is; its text may quote the event."""
    match error:
        case msgspec.EncodeError() | UnicodeEncodeError():
            return "its result is no JSON"
        case msgspec.DecodeError() | msgspec.ValidationError():
            return "the data has a number that is too large"
        case OverflowError():
            return "a number is too large"
        case TypeError():
            return "its result is no JSON, or it compares what cannot be compared"
    return f"a {type(error).__name__}"


class _Number(float):
    """A number with a fraction or an exponent, and how it is written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "_Number":
        """Read a number of JSON."""
        number = super().__new__(cls, text)
        number.text = text
        return number


_Number.__name__ = "float"  # by this name JMESPath's functions tell what they are given


def _written(value: object) -> msgspec.Raw:
    if isinstance(value, _Number):
        return msgspec.Raw(value.text.encode())
    raise TransformError("the transform failed: its result is an expression, which is no value")


_decode: Final = msgspec.json.Decoder(float_hook=_Number).decode
_encode: Final = msgspec.json.Encoder(enc_hook=_written).encode


class _Counting(TreeInterpreter):
    """One run of an expression, which counts its steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(Options())
        self.left = steps
        self._calls = functions.Functions()

    def spend(self, steps: int) -> None:
        """Count so many steps more. Raises TransformError where none are left."""
        self.left -= steps
        if self.left < 0:
            raise SpentError(f"the transform failed: it takes more than {STEPS:,} steps")

    def weigh(self, *values: object) -> None:
        """Count what it takes to go through all of these values: each part of them, as often as it is there."""
        stack = list(values)
        while stack:
            value = stack.pop()
            match value:
                case str():
                    self.spend(len(value) // _CHARS_PER_STEP)
                case list():
                    self.spend(len(value))
                    stack += value
                case dict():
                    self.spend(len(value) + sum(map(len, value)) // _CHARS_PER_STEP)
                    stack += value.values()
                case int():
                    self.spend(value.bit_length() // 256)

    def visit(self, node: Any, *args: Any, **more: Any) -> Any:
        """Visit one node."""
        self.left -= 1
        if self.left < 0:
            self.spend(0)
        return super().visit(node, *args, **more)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        """Compare; what is compared may be large."""
        left, right = (self.visit(child, value) for child in node["children"])
        if isinstance(left, list | dict | str) and isinstance(right, list | dict | str):
            self.weigh(left, right)
        operands: Any = [{"type": "literal", "children": [], "value": one} for one in (left, right)]
        return super().visit_comparator(node | {"children": operands}, value)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        """Call a function; it may go through all that it is given, and write some of it again and again."""
        given = [self.visit(child, value) for child in node["children"]]
        self.weigh(*given)
        chars = sum(len(one) for one in given if isinstance(one, str))
        times = sum(len(one) for one in given if isinstance(one, list))
        self.spend(chars * times // _CHARS_PER_STEP)
        return self._calls.call_function(node["value"], given)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Flatten an array; the result may be much longer."""
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.spend(len(base) + sum(len(one) for one in base if isinstance(one, list)))
        return [inner for one in base for inner in (one if isinstance(one, list) else (one,))]

    def visit_slice(self, node: Any, value: Any) -> Any:
        """Take a part of an array."""
        if isinstance(value, list):
            self.spend(len(value))
        return super().visit_slice(node, value)

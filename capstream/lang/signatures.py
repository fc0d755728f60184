"""What a function takes and how its arguments are coerced before it is called. Source: data-prep.md 4.1, 4.2 (N1, N2)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from capstream.kernel.json import Json
from capstream.lang.date_functions import as_date
from capstream.lang.diagnostics import Fail
from capstream.lang.values import integer, kind, number, text, truth


class Type(StrEnum):
    """Types of parameters and results."""

    TEXT = "text"
    INT = "int"
    LONG = "long"
    NUMBER = "number"
    FLOAT = "float"
    DECIMAL = "decimal"
    BOOL = "bool"
    DATE = "date"
    ARRAY = "array"
    MAP = "map"
    ANY = "any"
    LAMBDA = "lambda"


class Needs(StrEnum):
    """What a function takes from its surroundings, passed in front of its arguments."""

    NOTHING = ""
    NOW = "now"  #: epoch milliseconds of the record
    UUID = "uuid"  #: a source of random ids
    BUDGET = "budget"  #: the lambda calls the record has left
    RECORD = "record"  #: the source record


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. `nullable`: the function itself handles null there."""

    name: str
    type: Type
    optional: bool = False
    many: bool = False
    nullable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One row of the function table."""

    name: str
    category: str
    params: tuple[Param, ...]
    returns: Type
    call: Callable[..., Json] = field(compare=False)  #: takes coerced arguments
    null_first: bool  #: a null first argument gives null (N1)
    description: str
    example: str
    result: str | None = None  #: shown result where evaluating the example would not always give the same
    needs: Needs = Needs.NOTHING
    costly: bool = False  #: never folded while compiling

    @property
    def least(self) -> int:
        """Return the smallest number of arguments."""
        return sum(1 for param in self.params if not param.optional)

    @property
    def most(self) -> int | None:
        """Return the largest number of arguments, None when there is no limit."""
        return None if any(param.many for param in self.params) else len(self.params)


def params_of(text_form: str) -> tuple[Param, ...]:
    """Return the parameters of a short form: `s:text regex:text? values:any... pad:text~` (`?` optional, `~` may be null)."""
    result = []
    for word in text_form.split():
        name, _, kind_text = word.partition(":")
        type_name = kind_text.rstrip(".?~")
        marks = kind_text[len(type_name) :]
        result.append(Param(name, Type(type_name), optional="?" in marks, many="..." in marks, nullable="~" in marks))
    return tuple(result)


def _as_array(value: Json) -> Json:
    if value.__class__ is not list:
        raise Fail(f"{kind(value)} is no array")
    return value


def _as_map(value: Json) -> Json:
    if value.__class__ is not dict:
        raise Fail(f"{kind(value)} is no object")
    return value


def _as_is(value: Json) -> Json:
    return value


_COERCE: dict[Type, Callable[[Json], Json]] = {
    Type.TEXT: text,
    Type.INT: integer,
    Type.LONG: integer,
    Type.NUMBER: number,
    Type.BOOL: truth,
    Type.DATE: as_date,
    Type.ARRAY: _as_array,
    Type.MAP: _as_map,
    Type.ANY: _as_is,
    Type.LAMBDA: _as_is,
}


def bind(function: Function, count: int | None = None) -> Callable[..., Json]:
    """Return the function to call with raw arguments: it coerces them and applies the null rule.

    `count` is how many arguments it will be given, where that is known: with one it does without the handling of many.
    """
    coercions = tuple(_coercion(function.name, param) for param in function.params)
    call = function.call
    skip = 0 if function.needs in {Needs.NOTHING, Needs.RECORD} else 1
    if function.needs is Needs.RECORD:
        return call
    if skip == 0 and coercions and (count or len(coercions)) == 1 and not function.params[0].many:
        return _bind_single(function, coercions[0])
    rest = coercions[-1] if coercions else _as_is
    least, null_first = function.least, function.null_first

    def bound(*args: Json) -> Json:
        given = args[skip:]
        if null_first and given[0] is None:
            return None
        while len(given) > least and given[-1] is None and not function.params[min(len(given), len(coercions)) - 1].many:
            given = given[:-1]
        values = [
            (coercions[at] if at < len(coercions) else rest)(value) for at, value in enumerate(given)
        ]  # more arguments than parameters belong to the last, repeatable one
        return call(*args[:skip], *values)

    return bound


def takes_text(function: Function) -> bool:
    """Say whether a text as the only argument goes to the function as it is."""
    first = function.params[0] if function.params else None
    alone = function.needs is Needs.NOTHING and function.null_first
    return alone and first is not None and first.type is Type.TEXT and not first.many


def _bind_single(function: Function, coerce: Callable[[Json], Json]) -> Callable[..., Json]:
    call = function.call
    if function.null_first and function.params[0].type is Type.TEXT:

        def of_text(value: Json) -> Json:
            if value.__class__ is str:
                return call(value)
            return None if value is None else call(coerce(value))

        return of_text
    if function.null_first:

        def of_value(value: Json) -> Json:
            return None if value is None else call(coerce(value))

        return of_value

    def of_any(value: Json) -> Json:
        return call(coerce(value))

    return call if coerce is _as_is else of_any


def _coercion(function_name: str, param: Param) -> Callable[[Json], Json]:
    coerce = _COERCE[param.type]
    if param.type in {Type.ANY, Type.BOOL}:
        return coerce

    def checked(value: Json) -> Json:
        if value is None:
            if param.nullable:
                return None
            raise Fail(f"Argument {param.name} of {function_name} is null")
        return coerce(value)

    return checked

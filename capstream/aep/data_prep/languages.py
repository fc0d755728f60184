"""The language endpoints: functions, operators, validation of one expression. Source: data-prep.md 1.5, 2.6, 5.1."""

from functools import cache

from capstream.aep.data_prep.samples import BadSample, records
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import Json, dumps
from capstream.lang.expression import FAILURES, CheckError, compile_expression
from capstream.lang.functions import FUNCTIONS
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.operators import DOCS
from capstream.lang.signatures import Function, Param, Type
from capstream.lang.values import settled

_JAVA = {
    Type.TEXT: "java.lang.String",
    Type.INT: "java.lang.Integer",
    Type.LONG: "java.lang.Long",
    Type.NUMBER: "java.lang.Double",
    Type.FLOAT: "java.lang.Float",
    Type.DECIMAL: "java.math.BigDecimal",
    Type.BOOL: "java.lang.Boolean",
    Type.DATE: "java.time.ZonedDateTime",
    Type.ARRAY: "java.util.List",
    Type.MAP: "java.util.Map",
    Type.ANY: "java.lang.Object",
    Type.LAMBDA: "java.util.function.Function",
}
_VARARGS = "[Ljava.lang.Object;"


def function_infos() -> list[dict[str, Json]]:
    """Return the FunctionInfo of every function."""
    return [_info(function) for function in FUNCTIONS.values()]


def operator_infos() -> list[dict[str, Json]]:
    """Return the OperatorInfo of every operator."""
    return [
        {
            "operatorSymbol": doc.symbol,
            "methodName": doc.method,
            "numberOfOperands": doc.operands,
            "description": doc.description,
            "example": doc.example,
        }
        for doc in DOCS
    ]


def _info(function: Function) -> dict[str, Json]:
    return {
        "category": function.category,
        "function": function.name,
        "description": function.description,
        "syntax": f"{_short(function.returns)} {function.name}({', '.join(map(_written, function.params))})",
        "returns": str(function.returns),
        "returnType": _JAVA[function.returns],
        "example": function.example,
        "result": example_result(function.name),
        "params": [_param(param, position) for position, param in enumerate(function.params, 1)],
        "since": 1,
    }


def _short(kind: Type) -> str:
    return "T" if kind is Type.ANY else _JAVA[kind].rpartition(".")[2]


def _written(param: Param) -> str:
    return _short(param.type) + ("..." if param.many else "")


def _param(param: Param, position: int) -> dict[str, Json]:
    kind = f"any number of {param.type} values" if param.many else f"{param.type}{', may be left out' if param.optional else ''}"
    return {
        "name": param.name,
        "description": f"{param.name.replace('_', ' ')}: {kind}",
        "type": str(param.type),
        "dataType": _VARARGS if param.many else _JAVA[param.type],
        "position": position,
    }


@cache
def example_result(name: str) -> str:
    """Return what the example of a function gives, as text."""
    function = FUNCTIONS[name]
    if function.result is not None:
        return function.result
    value = settled(compile_expression(function.example).run({"evars": {"evar": {"field1": "x"}}}, 0, Budget(), new_uuid))
    return value if isinstance(value, str) else dumps(value).decode()


def validate(expression: str, *, sample: str | None, sample_type: str, now_ms: int) -> dict[str, Json]:
    """Return the validation answer; with a sample the expression also runs on its first record."""
    try:
        compiled = compile_expression(expression)
    except CheckError as error:
        return _failed("; ".join(diagnostic.describe(expression) for diagnostic in error.diagnostics))
    answer: dict[str, Json] = {"validationStatus": "succeeded", "error": "none"}
    if sample is None:
        return answer
    try:
        record = records(sample, sample_type)[:1]
        return answer | {"result": settled(compiled.run(record[0] if record else {}, now_ms, Budget(), new_uuid))}
    except BadSample as error:
        return _failed(str(error))
    except FAILURES as error:
        return _failed(f"{error} when run on the sample")


def _failed(error: str) -> dict[str, Json]:
    return {"validationStatus": "failed", "error": error}

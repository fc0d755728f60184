"""Runs validation cases: records with the verdict the platform should come to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from capstream.aep.identity_service.extraction import Resolver, identities_of
from capstream.aep.identity_service.namespaces import STANDARD, Namespace, NamespaceTable
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads
from capstream.xdm.merge import CompositionError
from capstream.xdm.schema import Schema
from capstream.xdm.validate import Validator, compile_validator
from capstream.xdm.violations import Violation

_ORG = "0" * 24 + "@AdobeOrg"
_FIRST_CUSTOM = 10_000_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one case: passed, failed (with the reason) or skipped (with its mode)."""

    id: str
    outcome: str
    reason: str = ""


def cases(path: Path) -> Iterator[tuple[str, dict[str, Json]]]:
    """Yield (name, case) for every line of a file. Errors: InputError names the line."""
    if not path.is_file():
        raise InputError(str(path), "no such file")
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        place = f"{path}:{number}"
        if not line.strip():
            continue
        try:
            case = loads(line)
        except JsonError as error:
            raise InputError(place, f"not JSON: {error}") from error
        missing = {"schema", "instance", "valid"} - set(case if isinstance(case, dict) else ())
        if missing:
            raise InputError(place, f"{', '.join(sorted(missing))} missing", "a case has schema, instance and valid")
        _check(place, case)
        yield str(case.get("id") or place), case


def _check(place: str, case: dict[str, Json]) -> None:
    names = case["schema"]
    if not (isinstance(names, str) or (isinstance(names, list) and names and all(isinstance(name, str) for name in names))):
        raise InputError(
            f"{place}: schema", "it is neither an id nor a list of ids", "name the schema, or a class and its field groups"
        )
    if not isinstance(case["valid"], bool):
        raise InputError(f"{place}: valid", "it is neither true nor false")


class Judge:
    """Judges cases; `compose` makes a schema of the components a case names. Validators are compiled once per schema."""

    def __init__(self, compose: Callable[[list[str]], Schema]) -> None:
        self._compose = compose
        self._validators: dict[tuple[str, ...], Validator] = {}

    def verdict(self, name: str, case: dict[str, Json]) -> Verdict:
        """Return whether the platform's rules come to the verdict of the case."""
        mode = case.get("mode", "platform")
        if mode != "platform":
            return Verdict(name, "skipped", str(mode))
        wanted = [case["schema"]] if isinstance(case["schema"], str) else list(case["schema"])
        reason = self._problem(case, self._validator(tuple(wanted)))
        return Verdict(name, "failed" if reason else "passed", reason)

    def _validator(self, references: tuple[str, ...]) -> Validator:
        known = self._validators.get(references)
        if known is None:
            try:
                known = self._validators[references] = compile_validator(self._compose(list(references)))
            except CompositionError as error:
                raise InputError(", ".join(references), str(error)) from error
        return known

    def _problem(self, case: dict[str, Json], validate: Validator) -> str:
        found = validate(case["instance"])
        if case.get("stage") == "identity":
            return _worded(found) if found else _identity_problem(case)
        if case["valid"]:
            return f"should be valid, but {_worded(found)}" if found else ""
        if not found:
            return f"should be invalid ({_expected(case)}), but nothing was found"
        if case.get("keyword") and (case["keyword"], case.get("pointer")) not in {(one.keyword, one.pointer) for one in found}:
            return f"should break {_expected(case)}, but {_worded(found)}"
        return ""


def _identity_problem(case: dict[str, Json]) -> str:
    """Tell whether Identity and Profile take the record as the case says; every namespace it names counts as known."""
    record = case["instance"]
    custom = [code for code in record.get("identityMap") or {} if NamespaceTable(STANDARD).find(code) is None]
    more = [
        Namespace(id=_FIRST_CUSTOM + number, code=code, name=code, idType="CROSS_DEVICE", custom=True)
        for number, code in enumerate(custom)
    ]
    found = identities_of(record, (), Resolver(_ORG, NamespaceTable((*STANDARD, *more))))
    refused = found.refusal or found.problem
    if bool(case["valid"]) is not bool(refused):
        return ""
    return f"should be taken, but {refused}" if refused else "should be skipped by identity processing, but was taken"


def _expected(case: dict[str, Json]) -> str:
    return f"{case.get('keyword', 'a rule')} at {case.get('pointer', '#')}"


def _worded(found: list[Violation]) -> str:
    return "; ".join(f"{one.pointer} {one.message} [{one.keyword}: {one.hint}]" for one in found)

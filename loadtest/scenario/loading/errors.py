"""The issues of a scenario: pydantic's findings in plain words, each with its path in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails

from loadtest.errors import url_without_secrets
from loadtest.scenario.loading.yaml_document import Path
from loadtest.units import quoted, seconds, seconds_text

URL_KEYS = {"target", "url"}
"""Keys whose value may be a URL, which may hold a secret although it should not."""


@dataclass(frozen=True)
class Issue:
    """A path in the file and the problem there."""

    path: Path
    text: str
    kind: Literal["unknown", "missing", "type", "rule"] = "rule"

    @property
    def subject(self) -> Path:
        """Return the path that the text describes: for an unknown key, the mapping that contains it."""
        return self.path[:-1] if self.kind == "unknown" else self.path


def issues(error: ValidationError, model: type[BaseModel], data: Any) -> list[Issue]:
    """Return pydantic's findings about `data` as issues, in its order.

    A key that is missing next to one that is unknown is left out: the one is most likely the other, misspelt.
    """
    found = [_issue(each, model, data) for each in error.errors(include_url=False) if not _is_consequence(each)]
    misspelt = {issue.subject for issue in found if issue.kind == "unknown"}
    return [issue for issue in found if issue.kind != "missing" or issue.subject not in misspelt]


def _is_consequence(details: ErrorDetails) -> bool:
    """Return whether a list counts as short only because its entries were refused."""
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def _issue(details: ErrorDetails, model: type[BaseModel], data: Any) -> Issue:
    kind = details["type"]
    whole, owners = _followed(model, details["loc"])
    owner = owners[0] if owners else None
    if kind == "extra_forbidden":
        own, others = _keys(owners[:1]), _keys(owners[1:])
        return Issue(_present(data, whole), _unknown(str(whole[-1]), own, others), "unknown")
    if details["loc"][-1] == "[key]":
        expected = details["ctx"]["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        return Issue(_present(data, whole), _unknown(str(whole[-1]), expected, []), "unknown")
    if kind == "missing":
        example = _example(owner, str(whole[-1]))
        like = "" if example is None else f', like "{whole[-1]}: {example}"'
        return Issue(_present(data, whole[:-1]), f'"{whole[-1]}" is missing; add it{like}', "missing")
    return Issue(_present(data, whole), _message(details, owner, whole), "rule" if kind == "value_error" else "type")


def _unknown(key: str, allowed: list[str], elsewhere: list[str]) -> str:
    near = get_close_matches(key, allowed, n=1) or get_close_matches(key, elsewhere, n=1)
    hint = f'did you mean "{near[0]}"?' if near and near[0] != key else f"use one of {', '.join(allowed)}"
    return f'unknown key "{key}"; {hint}'


def _keys(models: list[type[BaseModel]]) -> list[str]:
    return [field.alias or name for model in models for name, field in model.model_fields.items()]


def _example(owner: type[BaseModel] | None, key: str) -> str | None:
    """Return how a field may be written, from the examples in its JSON Schema."""
    if owner is None:
        return None
    examples = owner.model_json_schema(by_alias=True)["properties"].get(key, {}).get("examples", [None])
    return None if examples[0] is None else str(examples[0]).replace("'", "")


def _message(details: ErrorDetails, owner: type[BaseModel] | None, path: Path) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    given = quoted(url_without_secrets(value) if isinstance(value, str) and URL_KEYS & set(path) else value)
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short":
        return "this is empty; write at least one"
    if kind == "model_type" or kind == "dict_type":
        return f"{given} is given, but a mapping is needed"
    if kind == "tuple_type":
        return f'{given} is given, but a list is needed; begin each entry with "- "'
    if path[-1:] == ("key_variable",):
        return 'this is not the name of a variable; write it like "RUNPOD_API_KEY", and never the key itself'
    if kind == "finite_number":
        return f"{given} is not a finite number"
    if kind == "string_type":
        return f"{given} is not text; put it in quotes"
    if kind == "string_pattern_mismatch":
        return f'{given} is not valid here; write it like "{_example(owner, str(path[-1]))}"'
    bounds = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than",
              "less_than_equal": "at most"}  # fmt: skip
    if kind in bounds:
        bound = next(iter(context.values()))
        return f"{given} is out of range; it must be {bounds[kind]} {_like(value, bound)}"
    should = details["msg"].partition(", unable")[0]
    return should.replace("Input should", f"{given} should")


def _like(value: object, bound: float) -> str:
    """Return a bound in the form of the value that broke it: with a unit of time if that has one."""
    try:
        seconds(value)
    except ValueError:
        return str(bound) if isinstance(bound, int) else f"{bound:.12g}"
    return seconds_text(float(bound))


def _present(data: Any, path: Path) -> Path:
    """Return the parts of a path that exist in the data, without those that a shorthand left out."""
    kept: list[str | int] = []
    for part in path:
        indexed = isinstance(data, list) and isinstance(part, int) and part < len(data)
        if indexed or (isinstance(data, dict) and part in data):
            data = data[part]
            kept.append(part)
    return tuple(kept)


def _followed(model: type[BaseModel], location: Iterable[str | int]) -> tuple[Path, list[type[BaseModel]]]:
    """Return a location of pydantic without its type tags, and its last owner, followed by that one's siblings."""
    kind: Any = model
    owners: list[type[BaseModel]] = []
    siblings: list[Any] = []
    path: list[str | int] = []
    for part in location:
        kind = _bare(kind)
        if part == "[key]":
            continue
        if get_origin(kind) in (Union, UnionType):
            siblings = [_bare(member) for member in get_args(kind) if _tag(member) != part]
            kind = next((member for member in get_args(kind) if _tag(member) == part), None)
            continue
        path.append(part)
        if _is_model(kind):
            owners = [kind, *filter(_is_model, siblings)]
            kind = next((f.annotation for name, f in kind.model_fields.items() if part in (f.alias, name)), None)
        elif get_origin(kind) in (tuple, dict):
            kind = get_args(kind)[0 if get_origin(kind) is tuple else 1]
        siblings = []
    return tuple(path), owners


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _bare(kind: Any) -> Any:
    """Return a type without its annotations, and without None as the alternative."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    members = [member for member in get_args(kind) if member is not NoneType]
    if get_origin(kind) in (Union, UnionType) and len(members) == 1:
        return _bare(members[0])
    return kind


def _tag(member: Any) -> str | None:
    return next((note.tag for note in getattr(member, "__metadata__", ()) if isinstance(note, Tag)), None)

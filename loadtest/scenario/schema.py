"""The reference of a scenario's keys, made from the model: `python -m loadtest.scenario.schema`."""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, PlainSerializer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from loadtest.endpoint import distributions, llm_settings
from loadtest.endpoint import settings as endpoint
from loadtest.endpoint.settings import TakePause
from loadtest.protocol.operations import Op
from loadtest.scenario import model as scenario
from loadtest.scenario import target
from loadtest.scenario.expect import Expect
from loadtest.scenario.model import AbortRule, Ceilings, Search, ValidityLimits
from loadtest.traffic import inputs, lengths, prompts
from loadtest.traffic import settings as traffic

_SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("The file", scenario.Scenario),
    ("`target`, an endpoint by its URL", target.RemoteTarget),
    ("`target`, a handler", target.HandlerTarget),
    ("`load`, open model", traffic.OpenLoad),
    ("`load.stages[]`, open model", traffic.RateStage),
    ("`load`, closed model", traffic.ClosedLoad),
    ("`load.stages[]`, closed model", traffic.UserStage),
    ("`load.locustfile`, closed model", traffic.Locustfile),
    ("`load.arrivals`, gamma", traffic.Gamma),
    ("`load.arrivals`, a trace", traffic.Trace),
    ("`flows.run`, `flows.runsync`, `flows.stream`, `flows.webhook`, `flows.openai`", scenario.Flow),
    ("`flows.*.inputs`, from a template", inputs.Template),
    ("`flows.*.inputs.prompts`", prompts.Prompts),
    ("`flows.*.inputs.input_tokens` and `output_tokens`, log-normal", lengths.LogNormalLengths),
    ("`flows.*.inputs.input_tokens` and `output_tokens`, between limits", lengths.UniformLengths),
    ("`flows.*.inputs`, from a file", inputs.JsonLines),
    ("`flows.*.inputs`, from a function", inputs.Function),
    ("`flows.*.expect`", Expect),
    ("`flows.*.polling`", traffic.Polling),
    ("`flows.*.policy`", scenario.JobPolicy),
    ("`webhooks`", scenario.WebhookReceiverSettings),
    ("`drain`", scenario.Drain),
    ("`search`", Search),
    ("`abort`", AbortRule),
    ("`ceilings`", Ceilings),
    ("`validity`", ValidityLimits),
    ("`endpoint`, and the file of `loadtest serve --config`", endpoint.EndpointSettings),
    ("`endpoint.workers`", endpoint.Workers),
    *((f"`endpoint.scaler`, by {key.replace('_', ' ')}", kind) for key, kind in endpoint.SCALERS.items()),
    ("`endpoint.revival`", endpoint.Revival),
    ("`endpoint.take_pause`", TakePause),
    ("`endpoint.chunks`", endpoint.Chunks),
    ("`endpoint.llm`", llm_settings.Llm),
    ("`endpoint.llm.output_tokens`, log-normal", llm_settings.LogNormalTokens),
    ("`endpoint.llm.output_tokens`, measured", llm_settings.MeasuredTokens),
    ("`endpoint.stream`", endpoint.StreamAnswers),
    ("`endpoint.policy`", endpoint.Policy),
    ("`endpoint.payloads`", endpoint.Payloads),
    ("`endpoint.webhooks`", endpoint.Webhooks),
    ("`endpoint.retention`", endpoint.Retention),
    ("A time that varies: log-normal", distributions.LogNormal),
    ("A time that varies: measured", distributions.Empirical),
)

_INTRODUCTION = """\
# Scenario reference

Made from the model by `python -m loadtest.scenario.schema > docs/reference/scenario.md`. Change the model, not this
file.

A scenario is one YAML 1.2 file. Numbers carry their units: `200ms`, `30s`, `5 min`, `20/s`, `6/min`,
`1000 per 10 s`, `1 %`; a number without one is refused. A key that is not listed here is refused too,
and so are 010 and 1_000, which readers of YAML take differently.
`loadtest check FILE` shows what a scenario would send, `loadtest schema` prints its JSON Schema for editors, and
`--set load.stages.0.rate=20/s` changes one value for one run. The smallest scenario is one line:
`load: {stages: [{rate: 5/s, for: 60s}]}`.

In the column *default*, "required" means that you must write the key if you write its section, "below" that the key
has a section of its own with the defaults, and – that there is none.

A time that varies is written as one time (`200ms`), as a log-normal distribution (`{median: 200ms, sigma: 0.3}`), as
a list of measured times (`["1.2s", "0.9s"]`) or as a file of them (`{file: measured.txt}`, one per line). A gate is
an objective as text, `delay p95 < 2s of runsync`; all its forms are in [gates.md](gates.md). A limit is written
`1000 per 10 s, 200 at once`; the operations that can have one are """


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a scenario's file, in which the name is optional."""
    schema = scenario.Scenario.model_json_schema(by_alias=True)
    schema["required"].remove("name")
    models: list[type[BaseModel]] = [distributions.Constant, llm_settings.FixedTokens]
    for model in [*models, *(model for _, model in _SECTIONS)]:
        properties = schema["$defs"].get(model.__name__, schema)["properties"]
        for name, field in model.model_fields.items():
            if field.default is not PydanticUndefined:
                properties[field.alias or name]["default"] = _plain(field)
        for name, text in _descriptions(model).items():
            properties[model.model_fields[name].alias or name]["description"] = text
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def reference() -> str:
    """Return the reference in Markdown."""
    lines = [_INTRODUCTION + ", ".join(f"`{op}`" for op in Op) + "."]
    for title, model in _SECTIONS:
        lines.append(f"\n## {title}\n\n{_cell(model.__doc__ or '')}\n\n| key | default | |\n|---|---|---|")
        properties = model.model_json_schema(by_alias=True)["properties"]
        descriptions = _descriptions(model)
        for name, field in model.model_fields.items():
            key = field.alias or name
            default = "the file's name" if model is scenario.Scenario and key == "name" else _default(field)
            lines.append(f"| `{key}` | {default} | {_cell(descriptions.get(name, ''))}{_range(properties[key])} |")
    return "\n".join([*lines, ""])


def _descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the text under each field of a model, by the field's name.

    Pydantic can read them when it makes the models, which costs every command a third of their import.
    """
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, BaseModel) or owner.__module__.startswith("pydantic"):
            continue
        [definition] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(definition, ast.ClassDef)
        for field, text in pairwise(definition.body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as written)):
                    found[name] = inspect.cleandoc(written)
    return {name: text for name, text in found.items() if name in model.model_fields}


def _cell(text: str) -> str:
    return " ".join(text.split())


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if any(type(field.default) is model for _, model in _SECTIONS[1:]) and len(type(field.default).model_fields) > 1:
        return "below"
    plain = _plain(field)
    return "–" if plain in (None, "", {}, []) else f"`{_yaml(plain)}`"


def _plain(field: FieldInfo) -> Any:
    """Return a default as its file would write it."""
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(default, BaseModel):
        changed = default.model_dump(mode="json", by_alias=True)
        return changed["constant"] if set(changed) == {"constant"} else changed
    if isinstance(default, dict):
        return {str(key): {} if isinstance(value, BaseModel) else value for key, value in default.items()}
    serializer: Any = next((note for note in field.metadata if isinstance(note, PlainSerializer)), None)
    return default if serializer is None else serializer.func(default)


def _yaml(value: Any) -> str:
    """Return a value in YAML's flow form, without unnecessary quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_yaml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


def _range(schema: dict[str, Any]) -> str:
    """Return the allowed values of a field from its JSON Schema: its choices, or its bounds."""
    choices = schema.get("enum", [])
    if choices:
        return " One of " + ", ".join(f"`{choice}`" for choice in choices) + "."
    bounds = [f"{word} {_yaml(schema[name])}" for name, word in _BOUNDS.items() if name in schema]
    return f" {', '.join(bounds).capitalize()}." if bounds and schema.get("type") != "string" else ""


if __name__ == "__main__":
    sys.stdout.write(reference())

"""The reference and the JSON Schema say what the model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from loadtest.scenario.loading.yaml_document import parse_yaml
from loadtest.scenario.schema import json_schema, reference

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()


def test_the_reference_in_the_repository_is_what_the_model_gives() -> None:
    assert (ROOT / "docs/reference/scenario.md").read_text() == reference(), (
        "regenerate it: python -m loadtest.scenario.schema > docs/reference/scenario.md"
    )


def test_every_key_is_described() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert len(rows) > 60
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_every_scenario_in_the_repository(path: Path) -> None:
    jsonschema.validate(parse_yaml(path.read_text(), path.name).data, SCHEMA)


@pytest.mark.parametrize(
    "inputs",
    [
        "prompts.jsonl",
        {"file": "prompts.jsonl", "order": "in turn"},
        {"lines": [{"prompt": "hello"}]},
        {"template": {"prompt": "${text 2 kB}"}},
        {"function": "inputs.py:make"},
    ],
)
def test_the_schema_accepts_inputs_as_a_user_writes_them(inputs: Any) -> None:
    load = {"stages": [{"rate": "20/s", "for": "5s"}]}
    jsonschema.validate({"load": load, "flows": {"run": {"inputs": inputs}}}, SCHEMA)


@pytest.mark.parametrize(
    "more",
    [
        {"load": {"stages": [{"rate": 20, "for": "5s"}]}},
        {"load": {"stages": [{"rate": "20/s", "for": "5s", "nmae": "x"}]}},
        {"sead": 3},
        {"endpoint": {"service": 5}},
        {"endpoint": {"workers": {"active": -1}}},
    ],
)
def test_the_schema_refuses_what_the_model_refuses(more: dict[str, Any]) -> None:
    data = {"load": {"stages": [{"rate": "20/s", "for": "5s"}]}}
    jsonschema.validate(data, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data | more, SCHEMA)


def test_every_default_in_the_schema_is_what_a_file_may_say() -> None:
    def defaults(node: Any) -> list[Any]:
        if isinstance(node, list):
            return [each for item in node for each in defaults(item)]
        if not isinstance(node, dict):
            return []
        own = [node] if "default" in node else []
        return own + [each for value in node.values() for each in defaults(value)]

    found = defaults(SCHEMA)
    assert len(found) > 30
    for each in found:
        checker = jsonschema.Draft202012Validator({**each, "$defs": SCHEMA["$defs"]})
        assert [error.message for error in checker.iter_errors(each["default"])] == []

"""Inputs that differ from job to job, and are the same for the same seed and number."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from loadtest.errors import ScenarioError
from loadtest.flows.submissions import submission_factory
from loadtest.gate.baseline import incomparable_reason
from loadtest.record.run import Ending, RunRecord
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.scenario.model import Flow, Scenario
from loadtest.traffic.inputs import input_source

MAKE = """
def make(seq, rng):
    return {"prompt": "x" * int(rng.integers(1, 9)), "n": seq}

def fails(seq, rng):
    raise ValueError("no such prompt") if seq == 5 else KeyError(seq)

def no_json(seq, rng):
    return object()

def large(seq, rng):
    return "x" * (11 * 10**6 if seq >= 3 else 1)
"""


def flow(**inputs: object) -> Flow:
    return Flow.model_validate({"inputs": inputs})


def made(count: int = 8, seed: int = 1, stream: int = 0, **inputs: object) -> list[object]:
    described = flow(**inputs).inputs
    assert described is not None
    input_of = input_source(described, seed, load_input_function, stream)
    return [input_of(seq) for seq in range(count)]


def scenario(seed: int = 1, **flows: object) -> Scenario:
    load = {"stages": [{"rate": "1/s", "for": "1s"}]}
    return Scenario.model_validate({"name": "x", "load": load, "seed": seed, "flows": flows})


@pytest.mark.parametrize(
    "inputs",
    [
        {"template": {"prompt": "about ${text 20 B}", "n": "${integer 1 to 1000000}"}},
        {"lines": [{"n": n} for n in range(50)]},
        {"function": "inputs.py:make", "source": MAKE},
    ],
)
def test_seed_and_number_determine_an_input_in_every_process(inputs: dict[str, object]) -> None:
    assert made(**inputs) == made(**inputs)
    assert made(**inputs) != made(seed=2, **inputs)
    assert made(**inputs) != made(stream=1, **inputs)
    described = flow(**inputs).inputs
    assert described is not None
    assert input_source(described, 1, load_input_function)(7) == made(**inputs)[7], "whatever was drawn before"


def test_a_template_fills_its_placeholders() -> None:
    template = {
        "prompt": "${one of cat | dog} no. ${seq}: ${text 1 kB}!",
        "max_tokens": "${integer 5 to 7}",
        "list": ["${seq}", {"deep": "${integer -1 to -1}"}],
        "id": "${uuid}",
        "plain": {"temperature": 0.5, "text": "costs $5 {not a place}"},
    }
    all_made = made(200, template=template)
    assert {each["max_tokens"] for each in all_made} == {5, 6, 7}  # type: ignore[index]
    assert {each["prompt"][:3] for each in all_made} == {"cat", "dog"}  # type: ignore[index]
    seventh = all_made[7]
    assert seventh["list"] == [7, {"deep": -1}]  # type: ignore[index]
    assert seventh["plain"] == template["plain"]  # type: ignore[index]
    assert len(seventh["prompt"]) == len("cat no. 7: ") + 1000 + 1  # type: ignore[index]
    assert len({each["prompt"] for each in all_made}) == 200  # type: ignore[index]
    assert len({UUID(each["id"]) for each in all_made}) == 200  # type: ignore[index]


def test_texts_reach_any_length() -> None:
    (text,) = made(1, template="${text 9 MB}")
    assert len(text) == 9 * 10**6  # type: ignore[arg-type]


@pytest.mark.parametrize("placeholder", ["${sequence}", "${integer 5 to 1}", "${text 5}", "${integer 1-5}", "${}"])
def test_an_unknown_placeholder_is_refused(placeholder: str) -> None:
    with pytest.raises(ValueError, match="write"):
        flow(template={"deep": [placeholder]})


def test_every_line_is_used_before_any_is_used_again() -> None:
    lines = list(range(10))
    shuffled = made(20, lines=lines)
    assert sorted(shuffled[:10]) == lines  # type: ignore[type-var]
    assert shuffled[:10] == shuffled[10:] != lines
    assert made(20, lines=lines, order="in turn") == lines * 2


def test_a_fixed_input_is_one_request_and_lines_are_prepared_once() -> None:
    one = scenario(run={"input": {"a": 1}})
    assert submission_factory(one, "run", load_input_function)(0).body == b'{"input":{"a":1}}'
    several = scenario(run={"inputs": {"lines": [{"a": 1}, {"a": 2}], "order": "in turn"}})
    submission_of = submission_factory(several, "run", load_input_function)
    assert [submission_of(seq).body for seq in range(2)] == [b'{"input":{"a":1}}', b'{"input":{"a":2}}']
    assert submission_of(0) is submission_of(2)


def test_a_policy_and_a_webhook_are_sent_next_to_the_input() -> None:
    policy = {"execution_timeout": "5s", "ttl": "1 min", "low_priority": True}
    asked = scenario(webhook={"input": 1, "policy": policy})
    sent = submission_factory(asked, "webhook", load_input_function, "http://127.0.0.1/x")(0)
    assert msgspec.json.decode(sent.body) == {
        "input": 1,
        "webhook": "http://127.0.0.1/x",
        "policy": {"executionTimeout": 5000, "ttl": 60_000, "lowPriority": True},
    }


@pytest.mark.parametrize(
    ("name", "seq", "error"),
    [
        ("fails", 5, "inputs.py:fails failed for job 5: ValueError: no such prompt"),
        ("no_json", 0, "inputs.py:no_json did not make JSON for job 0: TypeError"),
        ("large", 3, "that of job 3 makes 11 MB, but /run takes at most 10 MB"),
    ],
)
def test_an_error_of_a_function_is_one_line(name: str, seq: int, error: str) -> None:
    described = scenario(run={"inputs": {"function": f"inputs.py:{name}", "source": MAKE}})
    with pytest.raises(ScenarioError) as refused:
        submission_factory(described, "run", load_input_function)(seq)
    assert error in str(refused.value)


def test_files_are_read_into_the_scenario_and_errors_in_them_name_the_file(tmp_path: Path) -> None:
    head = "load: {stages: [{rate: 1/s, for: 1s}]}\n"
    (tmp_path / "prompts.jsonl").write_text('{"n": 1}\n\n"two"\n')
    (tmp_path / "inputs.py").write_text(MAKE)
    path = tmp_path / "x.yaml"

    def loaded(text: str) -> Scenario:
        path.write_text(head + text)
        return load_scenario(path)

    both = loaded("flows: {run: {inputs: prompts.jsonl}, runsync: {inputs: {function: 'inputs.py:make'}}}")
    assert Scenario.model_validate(both.resolved()) == both
    assert [submission_factory(both, "run", load_input_function)(seq).body for seq in range(2)] != []
    for text, error in {
        "flows: {run: {inputs: {file: nothing.jsonl}}}": "nothing.jsonl",
        "flows: {run: {inputs: {function: 'inputs.py:nothing'}}}": 'no function "nothing"',
        "flows: {run: {inputs: {function: 'inputs.py:no_json'}}}": "x.yaml:2: flows.run.inputs",
        "flows: {run: {inputs: {function: 'inputs.py:fails'}}}": "failed for job 0: KeyError",
        "flows: {run: {inputs: {template: '${text 11 MB}'}}}": "11 MB, but /run takes at most 10 MB",
        "flows: {run: {input: 1, inputs: prompts.jsonl}}": "keep one of them",
        "flows: {run: {inputs: 5}}": "flows.run.inputs",
        "flows: {run: {inputs: {}}}": "flows.run.inputs: no inputs; name a file with one JSON value per line",
        "flows: {run: {inputs: {lines: []}}}": "no inputs; name a file with one JSON value per line",
    }.items():
        with pytest.raises(ScenarioError) as refused:
            loaded(text)
        assert error in str(refused.value)
    (tmp_path / "prompts.jsonl").write_text('{"n": 1}\nnot json\n')
    with pytest.raises(ScenarioError, match=r"prompts\.jsonl:2: not JSON"):
        loaded("flows: {run: {inputs: prompts.jsonl}}")


def test_runs_with_other_inputs_have_another_hash_and_are_not_comparable() -> None:
    def ran(lines: list[int]) -> RunRecord:
        one = scenario(run={"inputs": {"lines": lines}})
        payloads = {name: each.payload_hash for name, each in one.flows.items()}
        ends = {"started_at": 0.0, "ending": Ending.COMPLETE, "payloads": payloads}
        return RunRecord("a", one.resolved(), one.hash(), 1, "http://127.0.0.1", "", {}, **ends)  # type: ignore[arg-type]

    assert ran([1, 2]).payloads != ran([1, 3]).payloads
    assert incomparable_reason(ran([1, 2]), ran([1, 2])) is None
    assert "its payloads are" in (incomparable_reason(ran([1, 2]), ran([1, 3])) or "")


@pytest.mark.parametrize(
    ("template", "sent"),
    [
        ("$${seq}", "${seq}"),
        ("cost: $${seq} is ${seq}", "cost: ${seq} is 0"),
        ("$$${seq}", "$${seq}"),
        ("${one of $}${seq}", "$0"),
        (["$${x.y}", "plain", "${ open", "$$"], ["${x.y}", "plain", "${ open", "$$"]),
    ],
)
def test_a_literal_placeholder_is_written_with_two_dollars(template: object, sent: object) -> None:
    assert made(1, template=template) == [sent]


def test_an_unknown_placeholder_is_refused_with_its_escape() -> None:
    with pytest.raises(ValueError, match=r"unknown placeholder; write .* or \$\$\{ for a literal \$\{"):
        flow(template="`${user.name}`")

"""Checks of answers: what is wrong, what is empty, and what the row then says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loadtest.endpoint.endpoint import Endpoint
from loadtest.endpoint.settings import EndpointSettings
from loadtest.flows.expectations import answer_check
from loadtest.flows.job_flow import JobFlow, run_and_poll
from loadtest.flows.steps import Response
from loadtest.flows.stream import run_and_stream
from loadtest.flows.submissions import run_submission, runsync_submission
from loadtest.flows.webhook import run_and_wait_for_webhook
from loadtest.protocol.operations import Op
from loadtest.record.sample import ErrorKind, Outcome, Sample
from loadtest.scenario.expect import Expect
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.loading.user_functions import load_output_function
from loadtest.traffic.polling import PollGroup, PollPacer
from loadtest.traffic.settings import Polling
from tests.unit.flows.virtual import VirtualWire, ok

CHECKS = """
def check(output):
    assert "broken" not in output, "it is broken"
    return {"yes": True, "no": False, "none": None, "text": "because"}[output["say"]]
"""


def reason(expect: dict[str, Any], output: Any, tokens: int | None = None) -> str | None:
    check = answer_check(Expect.model_validate(expect), load_output_function)
    return check(json.dumps(output).encode(), Sample(0, "run", 0.0, output_tokens=tokens))


@pytest.mark.parametrize(
    ("expect", "output", "wrong"),
    [
        ({"path": "output.text"}, {"text": "a"}, None),
        ({"path": "output.text"}, {"text": None}, "nothing at output.text"),
        ({"path": "output.text"}, ["text"], "nothing at output.text"),
        ({"path": "output.text", "exists": False}, {"other": 1}, None),
        ({"path": "output.text", "exists": False}, {"text": ""}, 'output.text is "", expected nothing there'),
        ({"path": "output.1.ok", "equals": True}, [{}, {"ok": True}], None),
        ({"path": "output.1.ok", "equals": True}, [{}, {"ok": 1}], "output.1.ok is 1, expected true"),
        ({"path": "output.ok", "equals": 1.0}, {"ok": 1}, None),
        ({"path": "output.ok", "equals": "x"}, {}, 'output.ok is not there, expected "x"'),
        ({"min_tokens": 5}, {"usage": {}}, "does not say how many tokens"),
        ({"matches": "^the (cat|dog)$"}, "the dog", None),
        ({"matches": "^the (cat|dog)$"}, "the cow", 'the text "the cow" does not match ^the (cat|dog)$'),
        ({"matches": "^a b$"}, {"choices": [{"message": {"content": "a b"}}]}, None),
        ({"matches": "^a b$"}, [{"choices": [{"tokens": ["a", " b"]}]}], None),
        ({"matches": "^a b$"}, ['data: {"choices": [{"text": "a', ' b"}]}\n\ndata: [DONE]\n\n'], None),
        ({"matches": "^a b$"}, [{"text": ["a"]}, {"text": [" b"]}], None),
        ({"matches": '"image"'}, {"image": 1}, None),
        ({"path": "output.text", "matches": "z"}, {"text": "a"}, 'the text "a" does not match z'),
    ],
)
def test_answer_is_wrong_if_something_that_is_expected_does_not_hold(
    expect: dict[str, Any], output: Any, wrong: str | None
) -> None:
    found = reason(expect, output)
    assert found == wrong or (wrong is not None and found is not None and wrong in found)


@pytest.mark.parametrize(("tokens", "wrong"), [(4, "4 output tokens, expected 5 or more"), (5, None)])
def test_min_tokens_counts_the_output_tokens_of_the_job(tokens: int, wrong: str | None) -> None:
    assert reason({"min_tokens": 5}, "x", tokens) == wrong


@pytest.mark.parametrize(
    ("output", "wrong"),
    [
        ({"say": "yes"}, None),
        ({"say": "none"}, None),
        ({"say": "text"}, "because"),
        ({"say": "no"}, "c.py:check returned False"),
        ({"broken": 1}, "c.py:check raised AssertionError: it is broken"),
        ({"say": "?"}, "c.py:check raised KeyError: '?'"),
    ],
)
def test_function_of_the_user_judges_the_output(output: Any, wrong: str | None) -> None:
    assert reason({"python": {"function": "c.py:check", "source": CHECKS}}, output) == wrong


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ({}, "nothing is expected"),
        ({"exists": True}, "add path"),
        ({"path": "output", "exists": True, "equals": 1}, "keep one"),
        ({"matches": "("}, "not a regular expression"),
        ({"path": "output..text"}, "pattern"),
        ({"min_tokens": 0}, "greater than or equal to 1"),
    ],
)
def test_expectation_that_says_nothing_or_contradicts_itself_is_refused(expect: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Expect.model_validate(expect)


def test_scenario_holds_the_file_of_its_function_and_check_finds_what_is_not_in_it(tmp_path: Path) -> None:
    (tmp_path / "c.py").write_text(CHECKS)
    path = tmp_path / "s.yaml"
    text = 'load: {stages: [{rate: 1/s, for: 1s}]}\nflows: {run: {expect: {python: "c.py:%s"}}}\n'
    path.write_text(text % "check")
    python = load_scenario(path).flows["run"].expect.python  # type: ignore[union-attr]
    assert python is not None
    assert python.source == CHECKS
    path.write_text(text % "missing")
    with pytest.raises(Exception, match=r'flows.run.expect.python: .*has no function "missing"'):
        load_scenario(path)


def ended(flow: str, expect: dict[str, Any] | None, output: str | None, **settings: Any) -> Sample:
    """Drive a job whose completed responses have this output as JSON, or the simulated one if it is None."""
    whole = {"service": "100ms", "workers": {"active": 1, "max": 1}, **settings}
    wire = VirtualWire(Endpoint(EndpointSettings.model_validate(whole), seed=1, start_at=0.0))
    plain = wire._answer

    def answer(step: Any) -> Response:
        response = plain(step)
        document = json.loads(response.body)
        if output is not None and step.op is not Op.STREAM and document.get("status") == "COMPLETED":
            document.pop("output", None)
            made = json.dumps(document).encode()
            return ok(made if output == "" else made[:-1] + b', "output": ' + output.encode() + b"}")
        return response

    wire._answer = answer  # type: ignore[method-assign]
    check = None if expect is None else answer_check(Expect.model_validate(expect), load_output_function)
    asked = runsync_submission({}, 90.0, 60.0) if flow == "runsync" else run_submission({}, "http://x/")
    sample = Sample(0, flow, 0.0)  # type: ignore[arg-type]
    pacer = PollPacer(Polling.model_validate({"every": "50ms"}), 198.0, PollGroup())
    job = JobFlow(sample, asked, pacer, 60.0, check=check)
    flows = {"stream": lambda: run_and_stream(job, []), "webhook": lambda: run_and_wait_for_webhook(job)}
    wire.drive(flows.get(flow, lambda: run_and_poll(job))(), sample)
    wire.run()
    return sample


@pytest.mark.parametrize("flow", ["run", "runsync"])
@pytest.mark.parametrize("output", ["", "null", '""', "[]", "{}"])
def test_empty_output_is_named_and_wrong_if_anything_is_expected(flow: str, output: str) -> None:
    named = ended(flow, None, output)
    assert (named.outcome, named.error_kind) == (Outcome.COMPLETED, ErrorKind.EMPTY_OUTPUT)
    wrong = ended(flow, {"path": "output", "exists": False}, output)
    assert (wrong.outcome, wrong.error_kind) == (Outcome.WRONG, ErrorKind.EMPTY_OUTPUT)


@pytest.mark.parametrize("flow", ["run", "runsync", "webhook"])
def test_wrong_output_is_the_outcome_of_a_job_in_each_flow(flow: str) -> None:
    sample = ended(flow, {"path": "output.text"}, None if flow == "webhook" else '{"image": 1}')
    assert (sample.outcome, sample.error) == (Outcome.WRONG, "nothing at output.text")
    assert (sample.execution_ms, sample.given_up, sample.perhaps_accepted) == (100, False, False)
    assert ended("run", {"path": "output.text"}, '{"text": 1}').outcome == Outcome.COMPLETED


CHUNKS = {"service": None, "chunks": {"count": 3, "first": "50ms", "gap": "10ms", "tokens": 2}}


@pytest.mark.parametrize("output", ["", None], ids=["not aggregated", "aggregated"])
@pytest.mark.parametrize(("pattern", "outcome"), [("^ 1 2 3$", Outcome.COMPLETED), ("4", Outcome.WRONG)])
def test_streamed_answer_is_the_list_of_its_chunks(output: str | None, pattern: str, outcome: Outcome) -> None:
    sample = ended("stream", {"matches": pattern, "min_tokens": 6}, output, **CHUNKS)
    assert sample.outcome == outcome
    assert (sample.error is None) == (outcome is Outcome.COMPLETED)


def test_stream_with_chunks_is_not_empty_although_its_status_has_no_output() -> None:
    assert ended("stream", None, "", **CHUNKS).error is None

"""A payload reaches the wire as the file has it: every number with its digits, every line where it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.errors import ScenarioError
from loadtest.flows.submissions import submission_factory
from loadtest.protocol.json_values import decode_json, encode_json
from loadtest.record.directory import create_run
from loadtest.report.pages.run import _yaml
from loadtest.scenario.loading.files import read_json_lines, read_trace
from loadtest.scenario.loading.load import load_scenario, load_settings
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.scenario.model import Scenario

LOAD = "load: {stages: [{rate: 20/s, for: 15s}]}\n"
INTEGERS = st.integers() | st.integers(2**63 - 2, 2**64 + 2)
FRACTIONS = st.from_regex(r"-?(0|[1-9][0-9]{0,25})\.[0-9]{1,25}([eE][+-]?[0-9]{1,3})?", fullmatch=True)
POWERS = st.from_regex(r"-?(0|[1-9][0-9]{0,5})[eE][+-]?[0-9]{1,3}", fullmatch=True)
NUMBERS = INTEGERS.map(str) | FRACTIONS | POWERS


def written(folder: Path, content: str | bytes, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def body(scenario: Scenario, seq: int = 0) -> str:
    return submission_factory(scenario, "run", load_input_function)(seq).body.decode()


def through_a_run(scenario: Scenario, folder: Path) -> Scenario:
    """Return the scenario as the processes of a run read it."""
    return Scenario.model_validate(create_run(scenario, folder / "run", "").read_run().scenario)


@settings(max_examples=12)
@given(st.lists(NUMBERS, min_size=20, max_size=40))
def test_every_number_goes_out_as_it_is_written(numbers: list[str]) -> None:
    text = f'{{"n":[{",".join(numbers)}]}}'
    inputs = {
        "yaml": f"input: {text}",
        "template": f"inputs: {{template: {text}}}",
        "lines": "inputs: lines.jsonl",
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        written(folder, text + "\n", "lines.jsonl")
        for kind, line in inputs.items():
            scenario = load_scenario(written(folder, f"{LOAD}flows: {{run: {{{line}}}}}\n"))
            again = through_a_run(scenario, folder / kind)
            assert body(scenario) == body(again) == f'{{"input":{text}}}'
            assert (again.hash(), again.flows["run"].payload_hash) == (
                scenario.hash(),
                scenario.flows["run"].payload_hash,
            )


@settings(max_examples=20)
@given(NUMBERS)
def test_a_number_given_as_an_option_or_as_an_output_is_kept_too(number: str) -> None:
    with TemporaryDirectory() as name:
        path = written(Path(name), LOAD)
        assert body(load_scenario(path, [f"flows.run.input.n={number}"])) == f'{{"input":{{"n":{number}}}}}'
        settings = load_settings(written(Path(name), f"output: [{number}]"))
        again = load_settings(written(Path(name), encode_json(settings.resolved())))
        assert encode_json(again.output).decode() == f"[{number}]"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("0x1F", "31"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("16:9", '"16:9"'),
        ("_1", '"_1"'),
        ("1e_3", '"1e_3"'),
    ],
)
def test_a_number_that_json_does_not_know_goes_out_by_its_value(text: str, sent: str, tmp_path: Path) -> None:
    assert body(load_scenario(written(tmp_path, f"{LOAD}flows: {{run: {{input: {text}}}}}"))) == f'{{"input":{sent}}}'


AMBIGUOUS = [
    ("010", "10"),
    ("1_000", "1000"),
    ("-08", "-8"),
    ("+01.50", "1.50"),
    ("0.1_5", "0.15"),
    ("0xA_B", "0xAB"),
]


@pytest.mark.parametrize(("text", "meant"), [*AMBIGUOUS, ("00", "0"), ("0_1", "1")])
def test_a_number_that_readers_of_yaml_take_differently_is_refused_with_its_line(
    text: str, meant: str, tmp_path: Path
) -> None:
    for place in (f"seed: {text}", f"flows: {{run: {{input: [{text}]}}}}"):
        with pytest.raises(ScenarioError, match=f'x.yaml:2: "{re.escape(text)}" .* write {re.escape(meant)}, or'):
            load_scenario(written(tmp_path, f"{LOAD}{place}"))
    with pytest.raises(ScenarioError, match=f"write {re.escape(meant)}, or"):
        load_scenario(written(tmp_path, LOAD), [f"seed={text}"])
    quoted = load_scenario(written(tmp_path, f"{LOAD}flows: {{run: {{input: '{text}'}}}}"))
    assert body(quoted) == f'{{"input":"{text}"}}'


def test_equal_numbers_are_equal_payloads_to_a_baseline(tmp_path: Path) -> None:
    def hashes(text: str) -> tuple[str, str]:
        scenario = load_scenario(written(tmp_path, f"{LOAD}flows: {{run: {{input: {text}}}}}"))
        return scenario.hash(), scenario.flows["run"].payload_hash

    assert hashes("0.1000") == hashes("0.1")
    assert len({hashes(text) for text in ("1e400", "2e400", "18446744073709551616", "18446744073709551617")}) == 4


def test_the_report_shows_a_number_as_it_is_written(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, LOAD + "flows: {run: {input: {n: 1e400, m: 0.1000}}}"))
    assert "n: 1e400\n" in _yaml(scenario.resolved())
    assert "m: 0.1000\n" in _yaml(scenario.resolved())


def test_a_function_may_return_numbers_of_any_size(tmp_path: Path) -> None:
    written(tmp_path, "def make(seq, rng):\n    return 2**70 + seq\n", "i.py")
    scenario = load_scenario(written(tmp_path, LOAD + 'flows: {run: {inputs: {function: "i.py:make"}}}'))
    assert body(scenario, 3) == f'{{"input":{2**70 + 3}}}'


@pytest.mark.parametrize("low", [0, 2**63])
def test_a_placeholder_draws_from_all_unsigned_numbers(low: int, tmp_path: Path) -> None:
    text = f"flows: {{run: {{inputs: {{template: '${{integer {low} to {2**64 - 1}}}'}}}}}}"
    scenario = load_scenario(written(tmp_path, LOAD + text))
    build = submission_factory(scenario, "run", load_input_function)
    drawn = [json.loads(build(seq).body)["input"] for seq in range(200)]
    assert all(low <= each < 2**64 for each in drawn)
    assert max(drawn) > 2**63


def test_a_range_that_does_not_fit_in_64_bits_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, LOAD + f"flows: {{run: {{inputs: {{template: '${{integer -1 to {2**64 - 1}}}'}}}}}}")
    with pytest.raises(ScenarioError, match="too wide a range; write one within 64 bits"):
        load_scenario(path)


SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"


@given(st.lists(st.text(st.sampled_from("ab" + SEPARATORS)), min_size=1), st.booleans(), st.booleans())
def test_only_a_line_feed_ends_a_line_of_json(texts: list[str], returns: bool, marks: bool) -> None:
    # JSON demands that control characters are escaped, but no other separator.
    lines = [f'{{"t":{msgspec.json.encode(text).decode()}}}' for text in texts]
    mark, end = "\ufeff" if marks else "", "\r\n" if returns else "\n"
    with TemporaryDirectory() as name:
        content = "".join(f"{mark}{line}{end}" for line in lines)
        assert read_json_lines(written(Path(name), content)) == [{"t": text} for text in texts]


def test_a_carriage_return_within_a_line_of_json_is_white_space(tmp_path: Path) -> None:
    assert read_json_lines(written(tmp_path, '{"a":\r1}\n{"a":2}\r\n')) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_trace_has_lines_of_any_system_and_a_byte_order_mark(end: str, tmp_path: Path) -> None:
    assert read_trace(written(tmp_path, "\ufeff" + end.join(["# times\u2028here", "0.5", "", "1.5", ""]))) == [
        0.5,
        1.5,
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_byte_order_mark_and_ends_of_lines_change_nothing_in_a_scenario(end: str, tmp_path: Path) -> None:
    lines = [LOAD.strip(), "flows:", "  run:", "    input:", "      text: |", "        one", "        two", ""]
    plain = load_scenario(written(tmp_path, "\n".join(lines)))
    assert load_scenario(written(tmp_path, "\ufeff" + end.join(lines))) == plain
    assert body(plain) == '{"input":{"text":"one\\ntwo\\n"}}'


def test_a_file_in_another_encoding_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="not a text file in UTF-8; save it in this encoding"):
        load_scenario(written(tmp_path, LOAD.encode("utf-16")))


@settings(max_examples=30)
@given(st.recursive(NUMBERS, lambda inner: st.lists(inner, min_size=1).map(lambda each: f"[{','.join(each)}]")))
def test_decoded_json_is_encoded_to_the_same_text(text: str) -> None:
    value: Any = decode_json(text)
    assert encode_json(value).decode() == text

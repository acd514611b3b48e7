"""Prompts from files, and lengths in tokens: what a scenario sends, and what it says of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from loadtest.errors import ScenarioError
from loadtest.flows.submissions import submission_factory
from loadtest.record.directory import create_run
from loadtest.report.pages.run import _length_texts, _shortened
from loadtest.report.terminal.preview import preview_lines
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.loading.user_functions import load_input_function
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import preview

LOAD = "load: {stages: [{rate: 20/s, for: 15s}]}\n"
CONVERSATIONS = [
    {
        "id": "a",
        "conversations": [
            {"from": "human", "value": "What is a queue?"},
            {"from": "gpt", "value": "A line of jobs, first in and first out."},
            {"from": "human", "value": "And a stack?"},
        ],
    },
    {"id": "b", "conversations": [{"from": "gpt", "value": "An answer without a question."}]},
    {
        "id": "c",
        "conversations": [
            {"from": "system", "value": "Be short."},
            {"role": "user", "content": "Name a colour."},
            {"role": "assistant", "content": "Red."},
        ],
    },
]
LINES = '{"prompt": "one two", "output_tokens": 5}\n{"text": "three", "output_tokens": 7, "id": 3}\n'


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of byte pairs, trained on made-up words, most of which are a token each."""
    rng = np.random.default_rng(2)
    words = ["".join(rng.choice(list("etaoinsrhl"), rng.integers(3, 8))) for _ in range(400)]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    texts = [text for word in words for text in (word, f"a {word}")]
    made.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=4000, show_progress=False, min_frequency=1))
    path = tmp_path_factory.mktemp("model") / "tokenizer.json"
    made.save(str(path))
    return path


def scenario(folder: Path, content: str = "", **inputs: Any) -> Scenario:
    if content:
        (folder / "prompts").write_text(content)
    path = folder / "x.yaml"
    path.write_text(f"{LOAD}flows: {json.dumps({'run': {'inputs': inputs}})}\n")
    return load_scenario(path)


def sent(asked: Scenario, count: int) -> Iterator[Any]:
    build = submission_factory(asked, "run", load_input_function)
    return (json.loads(build(seq).body)["input"] for seq in range(count))


PROMPT = {"prompt": "${prompt}", "max_tokens": "${prompt output}"}


@pytest.mark.parametrize(
    "text", [json.dumps(CONVERSATIONS), "\n".join(json.dumps(each) for each in CONVERSATIONS)], ids=["array", "lines"]
)
def test_first_question_and_length_of_its_answer_are_taken_of_a_conversation(tmp_path: Path, text: str) -> None:
    asked = scenario(tmp_path, text, template=PROMPT, prompts={"file": "prompts", "order": "in turn"})
    assert list(sent(asked, 3)) == [
        {"prompt": "What is a queue?", "max_tokens": 9},
        {"prompt": "Name a colour.", "max_tokens": 1},
        {"prompt": "What is a queue?", "max_tokens": 9},
    ]


def test_lines_hold_prompts_and_lengths_of_answers_and_the_first_ones_can_be_taken(tmp_path: Path) -> None:
    asked = scenario(tmp_path, LINES, template=PROMPT, prompts="prompts")
    first, second = sent(asked, 2)
    assert sorted([first["prompt"], second["prompt"]]) == ["one two", "three"]
    assert {each["max_tokens"] for each in (first, second)} == {5, 7}
    asked = scenario(tmp_path, LINES, template=PROMPT, prompts={"file": "prompts", "max": 1})
    assert [each["prompt"] for each in sent(asked, 2)] == ["one two", "one two"]
    plain = scenario(tmp_path, '"only text"\n', template="> ${prompt}", prompts="prompts")
    assert list(sent(plain, 1)) == ["> only text"]


def test_drawn_lengths_are_words_without_a_tokenizer_and_said_to_be_so(tmp_path: Path) -> None:
    asked = scenario(
        tmp_path,
        template={"prompt": "${uuid} ${drawn input}", "max_tokens": "${drawn output}"},
        input_tokens={"median": 50, "sigma": 0.5, "min": 20, "max": 90},
        output_tokens=[3, 4],
    )
    inputs = list(sent(asked, 200))
    lengths = [len(each["prompt"].split()) - 1 for each in inputs]
    assert 20 <= min(lengths) < 35 < 65 < max(lengths) <= 90
    assert {each["max_tokens"] for each in inputs} == {3, 4}
    said = " ".join(" ".join(preview_lines(preview(asked), {})).split())
    assert "lengths run: inputs log-normal of median 50 and sigma 0.5, 20 to 90, answers one of 2 measured" in said
    assert "in words, since no tokenizer is given; a word is one to three tokens" in said
    assert "since no tokenizer is given" in _length_texts(asked.resolved())["run"]
    assert "lengths" not in " ".join(preview_lines(preview(scenario(tmp_path, template="${text 2 kB}")), {}))


def test_with_a_tokenizer_each_input_has_exactly_the_tokens_that_are_drawn(tmp_path: Path, tokenizer: Path) -> None:
    count = Tokenizer.from_file(str(tokenizer))
    asked = scenario(
        tmp_path,
        template={"text": "${drawn input}", "prefixed": "Now: ${drawn input}"},
        input_tokens=[1, 17, 400],
        tokenizer=str(tokenizer),
    )
    prefix = len(count.encode("Now:").ids)
    lengths = [
        (len(count.encode(each["text"]).ids), len(count.encode(each["prefixed"]).ids)) for each in sent(asked, 60)
    ]
    assert {length for length, _ in lengths} == {1, 17, 400}
    assert {length - prefix for _, length in lengths} == {1, 17, 400}
    assert "in tokens of tokenizer.json" in " ".join(" ".join(preview_lines(preview(asked), {})).split())
    assert "in tokens of tokenizer.json" in _length_texts(asked.resolved())["run"]


def test_prompts_are_counted_with_the_tokenizer(tmp_path: Path, tokenizer: Path) -> None:
    asked = scenario(
        tmp_path, json.dumps(CONVERSATIONS), template=PROMPT, prompts="prompts", tokenizer=str(tokenizer)
    )
    count = Tokenizer.from_file(str(tokenizer))
    expected = {
        turns[-2]["content"] if "content" in turns[-2] else turns[0]["value"]: answer
        for turns, answer in ((CONVERSATIONS[0]["conversations"], "A line of jobs, first in and first out."),
                              (CONVERSATIONS[2]["conversations"], "Red."))
    }  # fmt: skip
    for each in sent(asked, 2):
        assert each["max_tokens"] == len(count.encode(expected[each["prompt"]]).ids)


def test_a_recorded_scenario_needs_neither_the_files_nor_the_package(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = scenario(
        tmp_path,
        LINES,
        template="${prompt} ${drawn input} ${seq}",
        prompts="prompts",
        input_tokens=20,
        tokenizer=str(tokenizer),
    )
    (tmp_path / "prompts").unlink()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    recorded = create_run(asked, tmp_path / "run", "").read_run().scenario
    again = Scenario.model_validate(recorded)
    assert list(sent(again, 5)) == list(sent(asked, 5))
    assert (again.hash(), again.flows["run"].payload_hash) == (asked.hash(), asked.flows["run"].payload_hash)
    shown = _shortened(recorded)["flows"]["run"]["inputs"]
    assert len(shown["words"]) == 6
    assert shown["prompts"]["texts"] == ["one two", "three"]


def test_a_template_of_before_has_the_record_that_it_had(tmp_path: Path) -> None:
    asked = scenario(tmp_path, template={"n": "${seq}"})
    assert asked.resolved()["flows"]["run"]["inputs"] == {"template": {"n": "${seq}"}}
    assert asked.flows["run"].payload_hash == Scenario.model_validate(asked.resolved()).flows["run"].payload_hash


TOO_LARGE = msgspec.json.encode("x" * 33_000_000).decode()


@pytest.mark.parametrize(
    ("text", "inputs", "says"),
    [
        (LINES, {"template": "${prompt}"}, '"${prompt}" needs prompts: prompts.jsonl next to the template'),
        ("", {"template": "${drawn input}"}, "needs input_tokens: {median: 400, sigma: 0.8} next to the template"),
        ("", {"template": "x", "output_tokens": 5}, 'output_tokens needs "${drawn output}" in the template'),
        (LINES, {"template": "x", "prompts": "prompts"}, 'prompts needs "${prompt}" in the template'),
        ("", {"template": "${prompt}", "prompts": "missing"}, 'there is no file "missing"'),
        ('"a"\n{"n": 1}\n', {"template": "${prompt}", "prompts": "prompts"}, "prompts:2: is not a prompt; write"),
        ('[{"n": 1}]', {"template": "${prompt}", "prompts": "prompts"}, "prompts: entry 1: is not a prompt"),
        ('"a"\nb\n', {"template": "${prompt}", "prompts": "prompts"}, "prompts:2: not JSON"),
        ("[1, ", {"template": "${prompt}", "prompts": "prompts"}, "prompts: not JSON"),
        (" \n", {"template": "${prompt}", "prompts": "prompts"}, "prompts: holds no prompts; write one per line"),
        (json.dumps(CONVERSATIONS[1:2]), {"template": "${prompt}", "prompts": "prompts"}, "holds no prompts"),
        (
            '{"prompt": "a", "output_tokens": 3}\n"b"\n',
            {"template": "${prompt}${prompt output}", "prompts": "prompts"},
            'that of prompt 2 is not in the file; add "output_tokens"',
        ),
        (
            TOO_LARGE,
            {"template": "${prompt}", "prompts": "prompts"},
            "a scenario holds at most 32 MB; write max: 1000",
        ),
        ("{}", {"template": "${seq}", "tokenizer": "prompts"}, "prompts: is not a tokenizer.json"),
    ],
)
def test_what_cannot_be_sent_is_one_line(tmp_path: Path, text: str, inputs: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        scenario(tmp_path, text, **inputs)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_the_package_the_remedy_is_named(
    tmp_path: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ScenarioError, match=r"install loadtest\[tokenizers\], or leave tokenizer out, so that"):
        scenario(tmp_path, template="${drawn input}", input_tokens=5, tokenizer=str(tokenizer))


def test_a_tokenizer_without_words_of_one_token_is_refused(tmp_path: Path) -> None:
    letters = Tokenizer(models.BPE({chr(code): code - 97 for code in range(97, 123)}, []))
    letters.save(str(tmp_path / "letters.json"))
    with pytest.raises(ScenarioError, match=r"letters.json: has too few words of one token, 0; leave tokenizer out"):
        scenario(tmp_path, template="${drawn input}", input_tokens=5, tokenizer="letters.json")

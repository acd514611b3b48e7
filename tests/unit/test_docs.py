"""What the documentation shows is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, pre_tokenizers

from loadtest.cli import app
from loadtest.errors import ExitCode, ScenarioError
from loadtest.gate.early_stopping import allowed_over, min_jobs
from loadtest.report.terminal.preview import preview_lines
from loadtest.scenario.gates import parse_gate
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import AbortRule, Scenario
from loadtest.scenario.preview import preview

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GATES = DOCS / "reference" / "gates.md"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
REST = {
    "load": "load: {stages: [{name: measured, rate: 5/s, for: 10s}, {name: ramp up, rate: 5/s to 9/s, for: 10s}]}\n",
    "flows": "flows: {run: {}, runsync: {}, stream: {}, openai: {input: {messages: []}}}\n",
    "endpoint": "endpoint: {chunks: {count: 20, first: 200ms}}\n",
    "price": "price: 0.00031\n",
    "ceilings": "ceilings: {jobs: 100, cost: 1}\n",
}
"""What a scenario needs next to the part of it that a page shows."""
INPUTS = {
    "prompts.jsonl": '{"prompt": "hello"}\n',
    "ShareGPT.json": (
        '[{"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello to you"}]}]'
    ),
    "inputs.py": "def make(seq, rng):\n    return {'seed': seq}\n",
    "checks.py": "def check(output):\n    return True\n",
    "AzureLLMInferenceTrace_code.csv": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"
    ),
    "handler.py": "def handler(job):\n    return {}\n",
}


def word_tokenizer() -> Tokenizer:
    """A tokenizer that knows a thousand words."""
    letters = "bdfgklmnprstvz"
    known = ["a", *(f"{first}{vowel}{last}" for first in letters for vowel in "aeiou" for last in letters)]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(known)}, "a"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def test_every_gate_that_is_shown_reads() -> None:
    gates = YAML(typ="safe").load(blocks(GATES, "yaml")[0])["gates"]
    assert len({parse_gate(text).metric for text in gates}) >= 12


def test_the_scenario_and_the_abort_rules_that_are_shown_load(tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    shown, remote = blocks(ROOT / "README.md", "yaml")
    path.write_text(shown)
    assert len(load_scenario(path).gates) == 2
    rules = (remote, blocks(GATES, "yaml")[-1])
    assert all(AbortRule.model_validate(YAML(typ="safe").load(text)["abort"]).gates for text in rules)


def scenarios() -> list[tuple[str, str]]:
    """Every YAML block that holds keys of a scenario and nothing else, with the page that shows it."""
    keys = {field.alias or name for name, field in Scenario.model_fields.items()}
    shown = [(name_of(page), text) for page in PAGES for text in blocks(page, "yaml")]
    return [(page, text) for page, text in shown if set(YAML(typ="safe").load(text)) & keys - {"name"}]


@pytest.mark.parametrize(("page", "text"), scenarios(), ids=[page for page, _ in scenarios()])
def test_every_part_of_a_scenario_that_is_shown_loads(page: str, text: str, tmp_path: Path) -> None:
    for name, content in INPUTS.items():
        (tmp_path / name).write_text(content)
    word_tokenizer().save(str(tmp_path / "tokenizer.json"))
    shown = YAML(typ="safe").load(text)
    path = tmp_path / "shown.yaml"
    path.write_text(text + "".join(rest for key, rest in REST.items() if key not in shown))
    assert load_scenario(path).flows


def test_the_preview_that_the_tutorial_shows_is_what_check_prints(tmp_path: Path) -> None:
    page = DOCS / "getting-started.md"
    path = tmp_path / "my.yaml"
    path.write_text(blocks(page, "yaml")[0])
    printed = "\n".join(preview_lines(preview(load_scenario(path)), {})) + "\n"
    assert [text for text in blocks(page, "") if text.startswith("my - ")] == [printed]


def test_the_mistake_that_is_shown_is_reported_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "README.md"
    path = Path("my.yaml")
    path.write_text(blocks(page, "yaml")[0].replace("rate: 5/s to 40/s", "rate: 20"))
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    assert f"loadtest: {refused.value}\n" in blocks(page, "")


def test_the_table_of_min_jobs_is_what_the_rule_gives() -> None:
    rows = [line.split("|")[2:-1] for line in GATES.read_text().splitlines() if "over |" in line]
    shares = (0.1, 0.05, 0.02, 0.01, 0.001)
    assert [[cell.strip() for cell in row] for row in rows] == [
        [str(min_jobs(0, share)) for share in shares],
        [str(min_jobs(1, share)) for share in shares],
        *([str(allowed_over(n, share) or "–") for share in shares] for n in (1000, 10_000)),
    ]


def test_the_sentences_of_failed_checks_that_are_quoted_are_the_programs() -> None:
    source = "".join(
        (ROOT / "loadtest/analyze" / each).read_text()
        for each in ("checks/registry.py", "checks/users.py", "littles_law.py")
    )
    sentences = re.sub(r"\{[^{}]*\}", "…", re.sub(r'"\s*f?"', "", source))
    quoted = re.findall(r'"([^"]*…[^"]*)"', (DOCS / "how-to" / "fix-an-invalid-run.md").read_text())
    parts = [part.strip() for sentence in quoted for part in sentence.split("…")]
    assert len(quoted) >= 14
    assert [part for part in parts if part.strip(" .;,") and part not in sentences] == []


def commands(page: Path) -> list[str]:
    """Every call of loadtest in the page's blocks, without comments and options that are in a variable."""
    shown = "\n".join(blocks(page, "sh") + blocks(page, "yaml")).replace(" $LIMITS", "")
    return [match.strip() for match in re.findall(r"^[ -]*(?:run: )?(loadtest [^#\n]+)", shown, re.MULTILINE)]


def group() -> typer.core.TyperGroup:
    command = typer.main.get_command(app)
    assert isinstance(command, typer.core.TyperGroup)
    return command


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_that_is_shown_is_one(page: Path) -> None:
    for shown in commands(page):
        _, name, *arguments = shlex.split(shown)
        group().commands[name].make_context(name, arguments)


def test_commands_are_found_in_the_pages() -> None:
    assert sum(len(commands(page)) for page in PAGES) >= 40


def test_the_reference_of_the_command_line_lists_every_option() -> None:
    sections = re.split(r"^## ", (DOCS / "reference" / "cli.md").read_text(), flags=re.MULTILINE)
    for name, command in group().commands.items():
        section = next(text for text in sections if text.startswith(f"`loadtest {name}"))
        options = [option for each in command.params for option in each.opts if not getattr(each, "hidden", False)]
        assert [option for option in options if option.startswith("--") and option not in section] == []


def test_every_exit_code_is_documented() -> None:
    page = (DOCS / "reference" / "exit-codes.md").read_text()
    assert [code for code in ExitCode if f"| {code.value} |" not in page] == []


def test_the_pages_for_ci_are_yaml() -> None:
    found = [YAML(typ="safe").load(text) for text in blocks(DOCS / "how-to" / "run-in-ci.md", "yaml")]
    assert [list(each)[-1] for each in found] == ["jobs", "load-test", "load-test-staging"]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"])
def test_every_link_to_a_file_leads_to_one(name: str) -> None:
    """Pages under docs are checked by `make docs`."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / name).read_text())
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).exists()] == []

"""What the documentation shows is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from loadtest.cli import app
from loadtest.gate.early_stopping import allowed_over, min_jobs
from loadtest.scenario.gates import parse_gate
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.settings import AbortRule

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [text for named, text in found if named == language]


def test_every_gate_that_is_shown_reads() -> None:
    gates = YAML(typ="safe").load(blocks(ROOT / "docs" / "gates.md", "yaml")[0])["gates"]
    assert len({parse_gate(text).metric for text in gates}) >= 9


def test_the_scenario_and_the_abort_rules_that_are_shown_load(tmp_path: Path) -> None:
    path = tmp_path / "shown.yaml"
    shown, remote = blocks(ROOT / "README.md", "yaml")
    path.write_text(shown)
    assert len(load_scenario(path).gates) == 2
    rules = (remote, blocks(ROOT / "docs" / "gates.md", "yaml")[1])
    assert all(AbortRule.model_validate(YAML(typ="safe").load(text)["abort"]).gates for text in rules)


def test_the_table_of_least_jobs_is_what_the_rule_gives() -> None:
    rows = [
        line.split("|")[2:-1] for line in (ROOT / "docs" / "gates.md").read_text().splitlines() if "over |" in line
    ]
    shares = (0.1, 0.05, 0.01, 0.001)
    assert [[cell.strip() for cell in row] for row in rows] == [
        [str(min_jobs(0, share)) for share in shares],
        [str(min_jobs(1, share)) for share in shares],
        *([str(allowed_over(n, share) or "–") for share in shares] for n in (1000, 10_000)),
    ]


def commands(page: Path) -> list[str]:
    """Every call of loadtest in the page's blocks, without comments and options that stand in a variable."""
    shown = "\n".join(blocks(page, "") + blocks(page, "yaml")).replace(" $LIMITS", "")
    return [match.strip() for match in re.findall(r"^[ -]*(?:run: )?(loadtest [^#\n]+)", shown, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_shown_is_one(page: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for shown in commands(page):
        _, name, *arguments = shlex.split(shown)
        command = group.commands[name]
        command.make_context(name, arguments)


def test_the_pages_for_ci_are_yaml() -> None:
    found = [YAML(typ="safe").load(text) for text in blocks(ROOT / "docs" / "ci.md", "yaml")]
    assert [list(each)[-1] for each in found] == ["jobs", "load-test", "load-test-staging"]

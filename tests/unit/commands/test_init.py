"""The files of `loadtest init` load as they are written, whatever is tested and however long a job takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from loadtest.commands.init import InitRequest, init
from loadtest.commands.starter import Ci, Kind, Measured, Start, ci_file, ignored, scenario_text
from loadtest.errors import UsageError
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario
from loadtest.scenario.preview import preview
from loadtest.scenario.target import HandlerTarget
from loadtest.scenario.warnings import warnings

URL = "https://api.runpod.ai/v2/abc"
HANDLER = "def handler(job):\n    return {}\n"


def loaded(start: Start, folder: Path) -> Scenario:
    (folder / "handler.py").write_text(HANDLER)
    path = folder / "loadtest.yaml"
    path.write_text(scenario_text(start))
    return load_scenario(path)


@pytest.mark.parametrize("execution_s", [None, 0.0, 0.02, 1.5, 45.0, 4000.0])
@pytest.mark.parametrize(
    ("kind", "target"), [(Kind.EMBEDDED, ""), (Kind.HANDLER, "handler.py"), (Kind.URL, URL)], ids=[*Kind]
)
def test_a_starter_loads_and_its_gates_can_pass(
    kind: Kind, target: str, execution_s: float | None, tmp_path: Path
) -> None:
    measured = None if execution_s is None else Measured(0.5, execution_s, execution_s + 0.6)
    scenario = loaded(Start(kind, target, {"text": 'a "b" # c'}, 0.00031, measured), tmp_path)
    assert scenario.flows["run"].input == {"text": 'a "b" # c'}
    assert scenario.job_timeout >= 5 * (execution_s or 0) or scenario.job_timeout == 14400
    found = [text for text in warnings(preview(scenario)) if "same input" not in text]
    assert found == []
    assert (scenario.ceilings.cost is not None) == (kind is Kind.URL)


def test_the_rate_is_half_of_what_a_worker_does(tmp_path: Path) -> None:
    def rate_per_s(kind: Kind, execution_s: float) -> float:
        start = Start(kind, URL if kind is Kind.URL else "handler.py", {}, 0.1, Measured(0, execution_s, execution_s))
        return loaded(start, tmp_path).load.stages[0].rate.start  # type: ignore[union-attr]

    assert rate_per_s(Kind.URL, 2.0) == 0.25
    assert rate_per_s(Kind.URL, 0.001) == 5
    assert rate_per_s(Kind.HANDLER, 0.1) == 0.8
    assert rate_per_s(Kind.EMBEDDED, 0.2) == 10


def test_files_are_written_and_shown(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    shown: list[str] = []
    init(InitRequest(tmp_path / "load", "embedded"), None, shown.append)
    workflow = YAML(typ="safe").load((tmp_path / ".github/workflows/load-test.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["gate"]["steps"]]
    assert "loadtest run load/loadtest.yaml --out reports/gate" in steps
    assert load_scenario(tmp_path / "load" / "loadtest.yaml").target == "embedded"
    assert [line.split()[0] for line in shown] == ["wrote", "wrote", "wrote", "next", "loadtest"]


def test_what_exists_is_kept_unless_it_is_forced(tmp_path: Path) -> None:
    shown: list[str] = []
    (tmp_path / ".gitlab-ci.yml").write_text("mine: {}\n")
    request = InitRequest(tmp_path, "embedded", ci=Ci.GITLAB)
    init(request, None, shown.append)
    assert (tmp_path / ".gitlab-ci.yml").read_text() == "mine: {}\n"
    assert any("which exists already" in line for line in shown)
    with pytest.raises(UsageError, match=r"loadtest\.yaml: exists already; .* with --force"):
        init(request, None, shown.append)
    init(InitRequest(tmp_path, "embedded", ci=Ci.GITLAB, force=True), None, shown.append)
    assert "load-test" in YAML(typ="safe").load((tmp_path / ".gitlab-ci.yml").read_text())


def test_answers_take_the_place_of_options(tmp_path: Path) -> None:
    handler = tmp_path / "handler.py"
    handler.write_text(HANDLER)
    (tmp_path / "test_input.json").write_text(json.dumps({"input": {"steps": 3}}))
    asked: list[str] = []

    def ask(question: str, default: str) -> str:
        asked.append(question)
        return str(handler) if len(asked) == 1 else default

    init(InitRequest(tmp_path / "sub", ci=Ci.NONE), ask, asked.append)
    scenario = load_scenario(tmp_path / "sub" / "loadtest.yaml")
    assert isinstance(scenario.target, HandlerTarget)
    assert scenario.flows["run"].input == {"steps": 3}
    assert len([text for text in asked if text.endswith(("embedded", "JSON", "no"))]) == 3


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (InitRequest(), 'no terminal to ask on; add --target with "embedded"'),
        (InitRequest(target="none.py"), "--target none.py: no such file; name a handler's file"),
        (InitRequest(target="embedded", input="{"), '--input: not JSON: .* write it like {"prompt": "hello"}'),
    ],
)
def test_what_cannot_be_is_named_and_nothing_is_written(
    request_: InitRequest, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=text):
        init(request_, None, print)
    assert list(tmp_path.iterdir()) == []


def test_gitignore_keeps_what_it_has() -> None:
    assert ignored("*.pyc") == "*.pyc\nreports/*\n!reports/baselines/\n"
    assert ignored("") == "reports/*\n!reports/baselines/\n"
    assert ignored("/reports/\n") is None


@pytest.mark.parametrize("ci", [Ci.GITHUB, Ci.GITLAB])
def test_a_file_for_ci_is_yaml_and_passes_the_key_of_a_url(ci: Ci) -> None:
    for kind in Kind:
        _, text = ci_file(ci, Path("loadtest.yaml"), Start(kind, URL, {}, 0.1))
        assert "loadtest run loadtest.yaml" in str(YAML(typ="safe").load(text))
        assert ("RUNPOD_API_KEY" in text) == (kind is Kind.URL)
        assert ("runpod\n" in text) == (kind is Kind.HANDLER)

"""The first record of a run: the scenario as resolved, which the processes of the run read."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import RunDirectoryError
from loadtest.record.directory import create_run
from loadtest.scenario.loading.load import load_scenario
from loadtest.scenario.model import Scenario

SCENARIOS = sorted((Path(__file__).parents[3] / "scenarios").rglob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_run_is_read_back_as_the_scenario_that_it_was_made_from(path: Path, tmp_path: Path) -> None:
    scenario = load_scenario(path, warn=lambda text: None)
    run = create_run(scenario, tmp_path / "run", "loadtest run x.yaml").read_run()
    read = Scenario.model_validate(run.scenario)
    assert read == scenario
    assert read.hash() == run.scenario_hash
    assert (run.id, run.command, run.processes, run.ending) == ("run", "loadtest run x.yaml", [], None)
    assert sum(stage.duration_s for stage in run.stages) == scenario.load.duration_s


def test_a_user_function_travels_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "inputs.py").write_text("def make(seq, rng):\n    return seq\n")
    path = tmp_path / "x.yaml"
    path.write_text('load: {stages: [{rate: 1/s, for: 2s}]}\nflows: {run: {inputs: {function: "inputs.py:make"}}}\n')
    scenario = load_scenario(path)
    (tmp_path / "inputs.py").unlink()
    run = create_run(scenario, tmp_path / "run", "").read_run()
    assert Scenario.model_validate(run.scenario).flows == scenario.flows


def test_a_directory_that_exists_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIOS[0], warn=lambda text: None)
    (tmp_path / "run").mkdir()
    with pytest.raises(RunDirectoryError, match="exists already; name another with --out"):
        create_run(scenario, tmp_path / "run", "")
    assert list((tmp_path / "run").iterdir()) == []


def test_runs_of_one_scenario_that_start_at_once_have_directories_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = load_scenario(SCENARIOS[0], warn=lambda text: None)
    made = [create_run(scenario, None, "") for _ in range(3)]
    assert len({each.path for each in made}) == 3
    assert len({each.token for each in made}) == 3
    assert all(each.path.name.startswith(f"{scenario.name}-") for each in made)
    assert all(each.is_here() for each in made)


def test_run_whose_place_another_has_taken_touches_nothing(tmp_path: Path) -> None:
    scenario = load_scenario(SCENARIOS[0], warn=lambda text: None)
    first = create_run(scenario, tmp_path / "run", "first")
    record = first.read_run()
    (tmp_path / "run").rename(tmp_path / "moved")
    second = create_run(scenario, tmp_path / "run", "second")
    for touch in (first.read_run, lambda: first.write_run(record)):
        with pytest.raises(RunDirectoryError, match="another run has taken its place"):
            touch()
    assert not first.is_here()
    assert second.read_run().command == "second"

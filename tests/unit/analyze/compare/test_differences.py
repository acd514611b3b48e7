"""What differs among runs is listed with the value of each, and nothing else is."""

from __future__ import annotations

from loadtest.analyze.compare.differences import Difference, differences, target_of
from loadtest.record.run import Ending, ProcessInfo
from tests.unit.analyze.rows import run, scenario

FASTER = {"stages": [{"rate": "2/s", "for": "10s"}]}


def test_two_runs_of_one_scenario_differ_in_nothing() -> None:
    assert differences([run(), run(id="made-2", started_at=2000.0, load_started_at=2002.0)]) == []


def test_different_values_of_scenarios_are_reported_with_both_and_so_is_the_hash() -> None:
    one, other = scenario(), scenario(load=FASTER)
    assert differences([run(one), run(other)]) == [
        Difference("load.stages.0.rate", ('"1/s"', '"2/s"')),
        Difference("scenario hash", (one.hash(), other.hash())),
    ]


def test_value_of_only_one_run_is_missing_in_the_other() -> None:
    more = scenario(load={"stages": [{"rate": "1/s", "for": "10s"}, {"rate": "3/s", "for": "5s"}]})
    found = {each.what: each.values for each in differences([run(), run(more), run()])}
    assert found["load.stages.1.rate"] == (None, '"3/s"', None)


def test_seed_target_versions_processes_and_end_are_reported() -> None:
    elsewhere = scenario(target="https://host.example/v2/e")
    other = run(
        elsewhere,
        seed=2,
        target="https://host.example/v2/e",
        versions={"numpy": "2.4"},
        processes=[ProcessInfo(0, 1, "here"), ProcessInfo(1, 2, "there")],
        ending=Ending.INTERRUPTED,
    )
    found = {each.what: each.values for each in differences([run(versions={"numpy": "2.3"}), other])}
    assert found == {
        "seed": ("1", "2"),
        "target": ("embedded", "https://host.example/v2/e"),
        "processes": ("1", "2"),
        "machines": ("1", "2"),
        "end": ("complete", "interrupted"),
        "version of numpy": ("2.3", "2.4"),
    }


def test_the_port_of_an_embedded_endpoint_is_no_difference() -> None:
    there = run(target="http://127.0.0.1:2/v2/e")
    assert differences([run(), there]) == []
    assert target_of(there) == "embedded"

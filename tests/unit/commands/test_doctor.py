"""Each fact of a machine is a line, and what is wrong with it comes with a remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.commands.doctor import PACKAGES, Facts, State, doctor_lines, findings, read_facts

GOOD = Facts(
    python=(3, 12),
    versions=dict.fromkeys(PACKAGES, "1.0"),
    open_files=65536,
    cores=8,
    load_1_min=0.5,
    wake_up_ms=0.2,
    clock_resolution_s=1e-9,
    ports=28_232,
    taken=(),
    free_bytes=10**11,
    writable=True,
)


def test_a_good_machine_needs_nothing() -> None:
    assert {(each.state, each.remedy) for each in findings(GOOD)} == {(State.OK, "")}


@pytest.mark.parametrize(
    ("facts", "name", "state", "remedy"),
    [
        (replace(GOOD, versions={"loadtest": "1"}), "versions", State.BAD, "install loadtest again"),
        (replace(GOOD, open_files=1024), "open files", State.LOOK, "ulimit -n 65536"),
        (replace(GOOD, open_files=16), "open files", State.BAD, "ulimit -n 65536"),
        (replace(GOOD, load_1_min=6.0), "CPU", State.LOOK, "let other work finish"),
        (replace(GOOD, wake_up_ms=20.0), "clock", State.LOOK, "a core of its own"),
        (replace(GOOD, clock_resolution_s=0.015), "clock", State.BAD, "another machine"),
        (replace(GOOD, ports=500), "local ports", State.LOOK, "ip_local_port_range"),
        (replace(GOOD, taken=(8089,)), "listening", State.LOOK, "--web-port"),
        (replace(GOOD, writable=False), "reports", State.BAD, "--out"),
        (replace(GOOD, free_bytes=10**8), "reports", State.LOOK, "a million jobs"),
    ],
)
def test_what_is_wrong_is_the_only_line_with_a_remedy(facts: Facts, name: str, state: State, remedy: str) -> None:
    found = [each for each in findings(facts) if each.remedy]
    assert [(each.name, each.state) for each in found] == [(name, state)]
    assert remedy in found[0].remedy


def test_optional_packages_are_offered() -> None:
    versions = {name: "1" for name in PACKAGES if name != "runpod"}
    assert "pip install 'loadtest[handler]'" in findings(replace(GOOD, versions=versions))[0].remedy


def test_this_machine_is_read_and_its_lines_fit_a_terminal() -> None:
    facts = read_facts()
    assert facts.versions["loadtest"]
    assert facts.cores >= 1
    assert all(len(line) <= 80 for line in doctor_lines(findings(facts)))

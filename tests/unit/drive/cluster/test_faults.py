"""Generators that are late, killed, suspended, cut off and return, at random: every ceiling and limit holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from loadtest.scenario.model import Scenario
from loadtest.traffic.arrivals import max_in_window
from tests.unit.drive.cluster.virtual_cluster import BEGINS_AT, Cluster, Host

LOAD_S = 15
WINDOW_S = 2.0
EXECUTION_S = 0.05
"""What the endpoint of a virtual cluster reports for each job."""
LOADS: list[dict[str, Any]] = [
    {"arrivals": "poisson", "stages": [{"rate": "30/s", "for": f"{LOAD_S}s"}]},
    {"model": "closed", "stages": [{"users": 12, "for": f"{LOAD_S}s"}]},
]


def faulty_cluster(folder: Path, random: Random) -> Cluster:
    limit = random.choice([60, 100, 400])
    scenario = {
        "name": "x",
        "load": random.choice(LOADS),
        "flows": {"runsync": {}},
        "limits": dict.fromkeys(("run", "runsync", "status", "cancel", "stream"), f"{limit} per {WINDOW_S:g} s"),
        "drain": {"within": "10s"},
        "price": 1.0,
        "ceilings": random.choice([{"jobs": random.randint(1, 300)}, {"cost": random.uniform(1.0, 10.0)}]),
    }
    made = Cluster(folder, Scenario.model_validate(scenario), delay_s=random.choice([0.001, 0.02, 0.2]))
    for number in range(random.randint(1, 3)):
        made.add(f"g{number}", offset_s=random.uniform(-100.0, 100.0))
    for number in range(random.randint(0, 2)):
        made.at(random.uniform(0.0, LOAD_S), lambda name=f"late{number}": made.join(name))  # type: ignore[misc]
    for host in random.sample(list(made.hosts.values()), random.randint(0, len(made.hosts))):
        begins_s = random.uniform(0.5, LOAD_S)
        if random.random() < 0.3:
            made.at(begins_s, host.kill)
        else:
            away = random.choice([Host.cut, Host.suspend])
            away(host, BEGINS_AT + begins_s, BEGINS_AT + begins_s + random.uniform(0.5, 12.0))
    return made


@pytest.mark.parametrize("seed", range(30))
def test_ceilings_and_limits_hold_under_random_faults(tmp_path: Path, seed: int) -> None:
    made = faulty_cluster(tmp_path, Random(seed))
    made.run(within_s=200.0)
    scenario = made.scenario
    run = made.directory.read_run()
    assert run.ending is not None
    limit = scenario.limits["runsync"]
    assert max_in_window(np.sort([at for at, _ in made.submissions]), WINDOW_S) <= limit.requests
    if scenario.ceilings.jobs is not None:
        assert len(made.submissions) <= scenario.ceilings.jobs
    if scenario.ceilings.cost is not None:
        a_heartbeat = limit.requests * EXECUTION_S
        assert len(made.submissions) * EXECUTION_S <= scenario.ceilings.cost + a_heartbeat
    rows = made.rows()
    assert max(Counter((row["seq"], row["process"]) for row in rows).values(), default=0) <= 1
    if scenario.schedule() is not None:
        assert max(Counter(row["seq"] for row in rows).values(), default=0) <= 1
    assert len(rows) <= len(made.submissions)

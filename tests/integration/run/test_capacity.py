"""A prediction held against a real run: both begin at once, each on an endpoint of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from tests.integration.run.conftest import LATE_IS_SOUND, Started, steady


def test_a_run_that_was_held_out_is_predicted_from_its_scenario(
    start: Callable[..., Started], command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    service = {"service": {"median": "40ms", "sigma": 0.3}}
    known = start(steady("60/s", "3s", endpoint={"workers": {"active": 4, "max": 4}, **service}, **LATE_IS_SOUND))
    swamped = {"workers": {"active": 1, "max": 1}, **service}
    other = start(
        steady("60/s", "3s", seed=2, name="swamped", drain={"within": "20s"}, endpoint=swamped, **LATE_IS_SOUND)
    )
    assert (known.finish().status, other.finish().status) == (0, 0)
    reported = command("capacity", str(known.out), "--check", str(other.out))
    assert (reported.returncode, reported.stderr) == (0, "")
    assert "swamped" in reported.stdout
    (check,) = json.loads((known.out / "capacity.json").read_text())["checks"]
    figures = {figure["name"]: figure for figure in check["figures"]}
    # Some 60 jobs/s meet a worker for 25: of 3 s it needs 7, so that the last wait 4 s.
    assert 3000 < figures["delay_p95_ms"]["measured"] < 6000
    assert abs(figures["delay_p95_ms"]["error"]) < 0.5
    assert figures["worker_s"]["measured"] is None
    assert "checked too rarely" in check["notes"][0]
    again = command("capacity", str(known.out), "--check", str(known.out))
    assert (again.returncode, again.stdout, again.stderr.count("\n")) == (2, "", 1)
    assert "is one of the runs to calibrate from" in again.stderr

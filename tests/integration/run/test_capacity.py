"""A prediction compared with a real run: both runs begin at once, each on an endpoint of its own."""

from __future__ import annotations

import json

from tests.integration.run.conftest import LATE_IS_SOUND, Command, Start, open_load


def test_run_is_predicted_from_its_scenario_and_another_run(start: Start, command: Command) -> None:
    service = {"service": {"median": "40ms", "sigma": 0.3}}
    known = start(open_load("60/s", "3s", endpoint={"workers": {"active": 4, "max": 4}, **service}, **LATE_IS_SOUND))
    swamped = {"workers": {"active": 1, "max": 1}, **service}
    other = start(
        open_load("60/s", "3s", seed=2, name="swamped", drain={"within": "20s"}, endpoint=swamped, **LATE_IS_SOUND)
    )
    assert (known.finish().status, other.finish().status) == (0, 0)
    predicted = command("capacity", str(known.out), "--check", str(other.out))
    assert (predicted.status, predicted.stderr) == (0, "")
    assert "swamped" in predicted.stdout
    (check,) = json.loads((known.out / "capacity.json").read_text())["checks"]
    figures = {figure["name"]: figure for figure in check["figures"]}
    # Some 60 jobs/s meet a worker for 25: of 3 s it needs 7, so that the last wait 4 s.
    assert 3000 < figures["delay_p95_ms"]["measured"] < 6000
    assert abs(figures["delay_p95_ms"]["error"]) < 0.5
    assert figures["worker_s"]["measured"] is None
    assert check["notes"]
    refused = command("capacity", str(known.out), "--check", str(known.out))
    assert (refused.status, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)

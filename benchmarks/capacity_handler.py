"""`python -m benchmarks.capacity_handler`: a real worker of the vendor's SDK calibrates; three are predicted and run.

The worker takes four jobs at once, which slow each other down. Needs the extra `handler`, and lasts four minutes.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.capacity import Outcome
from benchmarks.served import LOADTEST
from loadtest.capacity.planning.plan import BacktestReport, decode_plan

_SCENARIO = """\
target: {{handler: {handler}}}
load:
  stages: [{{rate: {rate}/s, for: {seconds}s}}]
flows:
  run: {{input: {{prompt: hello}}, polling: {{every: 200ms}}}}
job_timeout: 60s
drain: {{within: 60s}}
endpoint:
  workers: {{active: {workers}, max: {workers}}}
"""


def main() -> int:
    """Run both settings and print predicted, measured and error; return 0 if all figures hold, else 1."""
    into = Path("reports", f"capacity-handler-{datetime.now(UTC):%Y%m%d-%H%M%S}").resolve()
    into.mkdir(parents=True)
    calibration = _run(into, "one-worker", workers=1, rate_per_s=2.0, seconds=120)
    predicted = _run(into, "three-workers", workers=3, rate_per_s=6.5, seconds=90)
    subprocess.run([*LOADTEST, "capacity", str(calibration), "--check", str(predicted)], check=True)
    found = decode_plan((calibration / "capacity.json").read_bytes(), BacktestReport)
    outcomes = [Outcome(check.scenario, figure) for check in found.checks for figure in check.figures]
    for missed in (outcome for outcome in outcomes if not outcome.holds):
        print(f"missed: {missed.setting}, {missed.figure.name}")
    return 0 if all(outcome.holds for outcome in outcomes) else 1


def _run(into: Path, name: str, workers: int, rate_per_s: float, seconds: int) -> Path:
    file, handler = into / f"{name}.yaml", Path(__file__).with_name("slowing_handler.py")
    file.write_text(_SCENARIO.format(handler=handler, rate=rate_per_s, seconds=seconds, workers=workers))
    print(f"running {name}", file=sys.stderr, flush=True)
    subprocess.run([*LOADTEST, "run", str(file), "--out", str(into / name)], stdout=subprocess.PIPE, check=False)
    return into / name


if __name__ == "__main__":
    sys.exit(main())

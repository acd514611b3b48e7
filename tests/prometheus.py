"""A run that a real Prometheus scrapes: `python -m tests.prometheus` compares what it kept with `summary.json`.

It also asks Prometheus every query of the Grafana dashboard. Debian's package `prometheus` has the program.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "docs" / "grafana" / "loadtest.json"
SCRAPE_INTERVAL_S = 1


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def prometheus(folder: Path, target_port: int) -> Any:
    """Run Prometheus, which scrapes the run at this port once per second; yield its URL."""
    port = free_port()
    config = folder / "prometheus.json"  # which is YAML, too
    scraped = {"job_name": "loadtest", "static_configs": [{"targets": [f"127.0.0.1:{target_port}"]}]}
    config.write_text(
        json.dumps({"global": {"scrape_interval": f"{SCRAPE_INTERVAL_S}s"}, "scrape_configs": [scraped]})
    )
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen(command)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(100):
            with suppress(httpx.TransportError):
                if httpx.get(f"{url}/-/ready").status_code == 200:
                    break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def query(url: str, expression: str, at: float | None = None) -> list[dict[str, Any]]:
    """Return the series that Prometheus answers with."""
    asked = {"query": expression, **({} if at is None else {"time": str(at)})}
    answer = httpx.get(f"{url}/api/v1/query", params=asked).json()
    assert answer["status"] == "success", f"{expression}: {answer}"
    return list(answer["data"]["result"])


def figures(url: str, out: Path) -> dict[str, tuple[float, float]]:
    """Return each figure in Prometheus and in the summary, by its name."""
    summary = json.loads((out / "summary.json").read_text())
    found: dict[str, tuple[float, float]] = {}
    kept = {
        each["metric"]["outcome"]: float(each["value"][1])
        for each in query(url, "sum by (outcome) (max_over_time(loadtest_jobs_total[10m]))")
    }
    for outcome, jobs in summary["jobs"].items():
        if outcome in kept or (jobs and outcome == "completed"):
            found[f"jobs {outcome}"] = kept.get(outcome, 0.0), jobs
    found["jobs submitted"] = sum(kept.values()), summary["jobs"]["submitted"]
    for flow, each in summary["flows"].items():
        for column in ("delay", "execution", "end_to_end"):
            series = f'loadtest_job_{column}_seconds_count{{flow="{flow}", outcome="completed"}}'
            (kept_one,) = query(url, f"sum(max_over_time({series}[10m]))")
            found[f"{flow} {column} n"] = float(kept_one["value"][1]), each[f"{column}_ms"]["n"]
    for operation, each in summary["operations"].items():
        series = f'loadtest_requests_total{{operation="{operation}"}}'
        (kept_one,) = query(url, f"sum(max_over_time({series}[10m]))")
        found[f"requests {operation}"] = float(kept_one["value"][1]), each["requests"]
    return found


def dashboard_queries() -> list[str]:
    """Return the queries of the dashboard, with values for its variables."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = [each["expr"] for panel in panels for each in panel["targets"]]
    return [each.replace("$__rate_interval", "10s").replace("$instance", ".*") for each in asked]


def main() -> int:
    """Run it, print every figure, and return 1 if one differs or a query of the dashboard has no answer."""
    if shutil.which("prometheus") is None:
        print("prometheus is not installed; install it with: apt-get install prometheus")
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        with prometheus(folder, port) as url:
            command = [sys.executable, "-m", "loadtest", "run", str(ROOT / "scenarios" / "smoke.yaml")]
            command += ["--out", str(folder / "run"), "--processes", "2", "--metrics", f"127.0.0.1:{port}"]
            ran = subprocess.run([*command, "--set", "endpoint.failure_rate=10 %"], check=False)
            ended_at = json.loads((folder / "run" / "run.json").read_text())["load_ended_at"]
            found = figures(url, folder / "run")
            unanswered = [each for each in dashboard_queries() if not query(url, each, ended_at - 1)]
    differing = [name for name, (kept, summed) in found.items() if kept != summed]
    for name, (kept, summed) in found.items():
        print(f"{name:28} {kept:10g} {summed:10g}{'  differs' if name in differing else ''}")
    print(f"{len(dashboard_queries())} queries of the dashboard, without an answer: {unanswered or 'none'}")
    return 1 if differing or unanswered or ran.returncode not in (0, 1) else 0


if __name__ == "__main__":
    sys.exit(main())

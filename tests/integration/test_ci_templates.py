"""The shell steps of the GitHub Action and of the GitLab template, as their runners execute them."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
ACTION = YAML(typ="safe").load(ROOT / "action.yml")
GITLAB = YAML(typ="safe").load(ROOT / "ci" / "gitlab.yml")[".loadtest"]
SCENARIO = """
load: {arrivals: constant, stages: [{rate: 90/s, for: 2s}]}
drain: {within: 2s, cancel_within: 2s}
validity: {send_lag: 900ms, cpu: 100 %}
gates: ["errors < 20 %", "execution p50 < LIMIT"]
endpoint: {workers: {active: 9, max: 9}, service: 20ms, take_pause: 0s}
"""
RECORD_CALL = '#!/bin/sh\nfor each in "$@"; do echo "$each"; done >> "$CALLS"\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a folder with scenarios, and with commands that only record how they were called."""
    for name, limit in (("fast", "500ms"), ("slow", "1ms")):
        (tmp_path / f"{name}.yaml").write_text(SCENARIO.replace("LIMIT", limit))
    (tmp_path / "bin").mkdir()
    for command in ("gh", "pip"):
        (tmp_path / "bin" / command).write_text(RECORD_CALL)
        (tmp_path / "bin" / command).chmod(0o755)
    python = tmp_path / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\nif [ "$1 $2" = "-m pip" ]; then shift 2; exec pip "$@"; fi\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return tmp_path


def run_block(
    block: str, workspace: Path, environment: Mapping[str, str], shell: str = "bash"
) -> subprocess.CompletedProcess[str]:
    path = f"{workspace / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**environment, "PATH": path, "HOME": str(workspace), "CALLS": str(workspace / "calls")}
    command = [shell, "-e", *(["-o", "pipefail"] if shell == "bash" else []), "-c", block]
    return subprocess.run(
        command, cwd=workspace, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def filled(text: str, known: Mapping[str, str]) -> str:
    """Return a text with the values of its expressions."""
    return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: known[found[1]], text)


def run_action(workspace: Path, **inputs: str) -> tuple[dict[str, int], str]:
    """Run the steps of the action that are shell, and return their exit codes by name, and the step summary."""
    known = {f"inputs.{name}": str(each.get("default", "")) for name, each in ACTION["inputs"].items()}
    known |= {f"inputs.{name.replace('_', '-')}": text for name, text in inputs.items()}
    known |= {"github.action_path": str(ROOT), "github.token": "token"}
    known["github.event.pull_request.html_url"] = "https://github.example/pull/1"
    outputs, summary = workspace / "outputs", workspace / "summary.md"
    codes = {}
    for step in ACTION["runs"]["steps"]:
        if "run" not in step:
            continue
        given = {name: filled(text, known) for name, text in step["env"].items()}
        given |= {"GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary)}
        codes[step["name"]] = run_block(step["run"], workspace, given).returncode
        written = outputs.read_text().split() if outputs.exists() else []
        known |= {f"steps.judge.outputs.{name}": text for name, _, text in (line.partition("=") for line in written)}
    return codes, summary.read_text() if summary.exists() else ""


def test_action_passes_keeps_its_results_and_comments(workspace: Path) -> None:
    codes, summary = run_action(workspace, scenario="fast.yaml", comment="true", options="--seed 7")
    assert codes == dict.fromkeys(("Install loadtest", "Run and judge", "Comment on the pull request", "Verdict"), 0)
    assert "pass" in summary.lower()
    calls = (workspace / "calls").read_text().split("\n")
    assert str(ROOT) in calls
    assert calls[calls.index("--body-file") + 1] == "reports/gate/gate.md"
    assert {"report.html", "summary.json", "gate.xml", "gate.md"} <= {
        path.name for path in (workspace / "reports" / "gate").iterdir()
    }


def test_action_fails_in_its_last_step_for_a_failed_gate_and_a_scenario_that_is_not_there(workspace: Path) -> None:
    codes, summary = run_action(workspace, scenario="slow.yaml")
    assert (codes["Run and judge"], codes["Verdict"]) == (0, 1)
    assert "execution p50 &lt; 1ms" in summary
    codes, _ = run_action(workspace, scenario="none.yaml", out="reports/other", handler="none.py")
    assert (codes["Install loadtest"], codes["Run and judge"], codes["Verdict"]) == (0, 0, 2)
    assert f"{ROOT}[handler]" in (workspace / "calls").read_text()


@pytest.mark.parametrize(
    ("code", "allow", "end"), [("4", "true", 0), ("4", "false", 4), ("3", "true", 3), ("0", "false", 0)]
)
def test_verdict_lets_only_an_inconclusive_run_pass_if_allowed(
    workspace: Path, code: str, allow: str, end: int
) -> None:
    step = next(step for step in ACTION["runs"]["steps"] if step.get("name") == "Verdict")
    assert run_block(step["run"], workspace, {"CODE": code, "ALLOW_INCONCLUSIVE": allow}).returncode == end


@pytest.fixture
def notes() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the URL of a server, and the comments that it was sent."""
    received: list[dict[str, Any]] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            received.append({"path": self.path, "token": self.headers["PRIVATE-TOKEN"], "body": body["body"][0]})
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write no log."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def test_gitlab_job_fails_for_a_failed_gate_and_comments(
    workspace: Path, notes: tuple[str, list[dict[str, Any]]]
) -> None:
    url, received = notes
    variables = {**GITLAB["variables"], "LOADTEST_SOURCE": str(ROOT), "LOADTEST_SCENARIO": "slow.yaml"}
    script = "\n".join(GITLAB["script"])
    ended = run_block(script, workspace, variables, "sh")
    assert ended.returncode == 1, ended.stderr
    assert (workspace / "reports" / "gate" / "gate.xml").exists()
    merge_request = {"CI_API_V4_URL": url, "CI_PROJECT_ID": "7", "CI_MERGE_REQUEST_IID": "3"}
    after = "\n".join(GITLAB["after_script"])
    ended = run_block(after, workspace, variables | merge_request | {"LOADTEST_COMMENT_TOKEN": "secret"}, "sh")
    assert ended.returncode == 0, ended.stderr
    [note] = received
    assert (note["path"], note["token"]) == ("/projects/7/merge_requests/3/notes", "secret")
    assert "execution p50 &lt; 1ms" in note["body"]


def test_shell_of_both_is_clean() -> None:
    blocks = [("bash", step["run"]) for step in ACTION["runs"]["steps"] if "run" in step]
    blocks += [("sh", text) for text in (*GITLAB["script"], *GITLAB["after_script"])]
    for shell, text in blocks:
        command = [str(Path(sys.executable).parent / "shellcheck"), f"--shell={shell}", "--severity=warning", "-"]
        checked = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout

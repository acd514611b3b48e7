"""The run that Locust's command line describes for a locustfile of one's own."""

from __future__ import annotations

import hashlib
import inspect
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtest.errors import UsageError
from loadtest.scenario.loading.load import TaskLoad, load_task_scenario
from loadtest.scenario.model import Scenario
from loadtest.traffic.settings import ClosedLoad, Locustfile

if TYPE_CHECKING:
    from locust.env import Environment

_REFUSED = {
    "class_picker": ("--class-picker", "name the classes on the command line, as in: locust -f FILE CLASS"),
    "enable_rebalancing": ("--enable-rebalancing", "users of a lost process are divided among the others anyway"),
    "otel": ("--otel", "start the run with --metrics ADDR, or set OTEL_EXPORTER_OTLP_ENDPOINT"),
    "profile": ("--profile", "start the run without it"),
    "reset_stats": ("--reset-stats", "the first jobs count; gates can judge a stage, as in: delay p95 < 2s in NAME"),
    "stop_timeout": (
        "--stop-timeout",
        "drain.within says how long jobs are waited for, as in --set drain.within=60s",
    ),
}
"""Options of Locust that would change the load or the measurement, and what to do instead."""


def own_locustfile(environment: Environment, endpoint_user: type) -> Locustfile | None:
    """Return the locustfile of classes derived from `endpoint_user`; None if the users are those of a scenario.

    Raises UsageError if other classes are among them, or a load shape.
    """
    classes: Sequence[type] = environment.user_classes
    if not any(issubclass(each, endpoint_user) for each in classes):
        return None
    for each in classes:
        if not issubclass(each, endpoint_user):
            raise UsageError(
                f"{each.__name__}: not an EndpointUser, so its requests would keep to no limit and have no row; "
                "derive it from EndpointUser, or leave it out"
            )
    if environment.shape_class is not None:
        raise UsageError(
            f"{type(environment.shape_class).__name__}: a load shape has no effect here; write --users, --spawn-rate "
            "and --run-time, or a scenario with stages of users"
        )
    files = [Path(file) for file in environment.parsed_locustfiles or []] or [Path(inspect.getfile(classes[0]))]
    content = b"".join(file.read_bytes() for file in files)
    return Locustfile(name=", ".join(file.name for file in files), hash=hashlib.sha256(content).hexdigest()[:16])


def task_scenario(parsed: Namespace, class_hosts: Iterable[str | None], locustfile: Locustfile) -> Scenario:
    """Return the scenario of a run whose classes name these hosts, from the options and, if they name one, a file.

    Raises UsageError for options that have no effect, ScenarioError if the scenario is not valid.
    """
    for name, (option, instead) in _REFUSED.items():
        if getattr(parsed, name, None):
            raise UsageError(f"{option}: has no effect on this run; {instead}")
    if getattr(parsed, "exit_code_on_error", 1) != 1:
        raise UsageError("--exit-code-on-error: the verdict gives the exit code; write a gate, as in: errors < 1 %")
    hosts = dict.fromkeys(host for host in class_hosts if host)
    if len(hosts) > 1 and not (parsed.target or parsed.host):
        raise UsageError(
            f"host: the classes name several, {', '.join(hosts)}; a run has one target, name it with --target"
        )
    path = Path(parsed.scenario) if parsed.scenario else None
    target = parsed.target or parsed.host or (next(iter(hosts), None) if path is None else None)
    if target is None and path is None:
        raise UsageError(
            "--target: is not given; name the endpoint's whole URL, as in --target https://api.runpod.ai/v2/ID, "
            "or a scenario with --scenario"
        )
    load = TaskLoad(locustfile, *_stages(parsed))
    seed = _whole_number(parsed.seed) if parsed.seed else None
    return load_task_scenario(path, load, parsed.set, seed, target, parsed.key_variable or None)


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f'--seed: "{text}" is not a whole number; write it like "7"') from None


def _stages(parsed: Namespace) -> tuple[str, list[dict[str, Any]]]:
    """Return the stages of --users, --spawn-rate and --run-time, and how these were written; none if none is given.

    Raises UsageError if the users would not all be there before the end.
    """
    given = {"--users": parsed.num_users, "--spawn-rate": parsed.spawn_rate, "--run-time": parsed.run_time}
    label = " ".join(f"{option} {value:g}" for option, value in given.items() if value is not None)
    if not label:
        return "", []
    if not parsed.run_time:
        raise UsageError("--run-time: is not given; write how long the load lasts, as in --run-time 5m")
    users, per_s, run_s = parsed.num_users or 1, parsed.spawn_rate or 1.0, float(parsed.run_time)
    ramp_s = users / per_s
    if ramp_s > run_s:
        raise UsageError(
            f"--spawn-rate: {users} users at {per_s:g}/s take {ramp_s:g} s, longer than --run-time {run_s:g}s; "
            "raise one of the two"
        )
    if per_s >= users:  # Locust starts them all in the first second
        return label, [{"users": users, "for": f"{run_s!r}s"}]
    stages = [{"name": "ramp", "users": f"0 to {users}", "for": f"{ramp_s!r}s"}]
    if run_s > ramp_s:
        stages.append({"name": "load", "users": str(users), "for": f"{run_s - ramp_s!r}s"})
    return label, stages


def refuse_other_tasks(scenario: Scenario, locustfile: Locustfile | None) -> None:
    """Raise UsageError if this process has not the tasks that the run needs."""
    needed = scenario.load.locustfile if isinstance(scenario.load, ClosedLoad) else None
    if needed is None and locustfile is not None:
        raise UsageError(f"the run has no tasks, and this worker those of {locustfile.name}; use `loadtest worker`")
    if needed is not None and locustfile is None:
        raise UsageError(f"this worker has no tasks; start it with: locust -f {needed.name} --worker")
    if needed is not None and locustfile is not None and needed.hash != locustfile.hash:
        raise UsageError(f"this worker has another {needed.name} than the master; copy the file again")

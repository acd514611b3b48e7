"""What is known of a hostile run that is over: the endpoint's account, the run directory, the output."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from loadtest.drive.cluster.membership import LEASE_S
from loadtest.record.directory import RunDirectory
from loadtest.record.run import RunRecord
from loadtest.scenario.model import Scenario
from loadtest.traffic.inputs import Template, input_source
from loadtest.traffic.settings import ClosedLoad
from tests.hostile.ledger import Ledger
from tests.hostile.plan import INPUTS, Plan

Row = dict[str, Any]
NEVER_SENT = ("connect_error", "connect_timeout", "dns_error", "proxy_error", "tls_error", "local_resources")
WINDS_DOWN_S = 1.5
"""How long after a signal, or after a ceiling of cost is reached, a submission may arrive that was under way."""


@dataclass
class Evidence:
    """What is known of a run that is over. Times are the endpoint's, in epoch seconds.

    `tolerance_s` is by how much its times may be late, `exit_code` is None in virtual time, `signalled_at` infinite
    without a signal. `errors` are those that no run may have, such as the crash of a user.
    """

    plan: Plan
    ledger: Ledger
    path: Path
    ended_at: float
    tolerance_s: float
    signalled_at: float = math.inf
    exit_code: int | None = None
    output: str = ""
    errors: list[str] = field(default_factory=list)

    @cached_property
    def directory(self) -> RunDirectory:
        """Return the run directory."""
        return RunDirectory(self.path)

    @cached_property
    def run(self) -> RunRecord:
        """Return the record of the run."""
        return self.directory.read_run()

    @cached_property
    def scenario(self) -> Scenario:
        """Return the scenario as it ran."""
        return Scenario.model_validate(self.run.scenario)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Return summary.json."""
        return json.loads((self.path / "summary.json").read_text())  # type: ignore[no-any-return]

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Return the rows by the input of their job."""
        closed = isinstance(self.scenario.load, ClosedLoad)
        draws = {}
        rows = {}
        for row in self.directory.table("samples").to_pylist():
            stream = row["process"] if closed else 0
            if stream not in draws:
                draws[stream] = input_source(Template(**INPUTS), self.scenario.seed, lambda _: _no_function, stream)
            tag = json.dumps(draws[stream](row["seq"]))
            if tag in rows:
                self.errors.append(f"two rows of job {row['seq']} of process {row['process']}")
            rows[tag] = row
        return rows

    @property
    def winds_down_s(self) -> float:
        """Return how long the master may take to stop all generators: one that it does not reach has its lease."""
        unreached = any(self.plan.incident(kind) for kind in ("cut", "suspend"))
        return WINDS_DOWN_S + LEASE_S * unreached + self.tolerance_s

    @property
    def missing(self) -> int:
        """Return how many jobs were sent, by the audit, that have no row."""
        return sum(each.sent - each.recorded for each in self.run.audit)


def _no_function(*_: object) -> None:
    raise AssertionError


def perhaps_accepted(row: Row) -> bool:
    """Return whether a row without an id counts as perhaps accepted."""
    status = row["http_status"]
    if row["sent_at"] is None or row["error_kind"] in NEVER_SENT:
        return False
    return status is None or not (300 <= status < 500 or status == 503)

"""The account of jobs that did not end as they should: left on the endpoint, met faults, or share an id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.analyze.leftovers import LeftOnEndpoint
from loadtest.record.sample import SEEN_FINAL, certainly_refused


@dataclass(frozen=True)
class Accounting:
    """Counts of a run's jobs.

    `perhaps_accepted` were sent, and the endpoint may have them although no id is known. `given_up` were accepted,
    and no longer followed before their end was seen. `faults` are the responses of no use that jobs got over or not,
    `met_faults` the jobs with any. `repeated_ids` counts the jobs whose id another job had before.
    """

    perhaps_accepted: int = 0
    given_up: int = 0
    faults: int = 0
    met_faults: int = 0
    repeated_ids: int = 0

    def __add__(self, other: Accounting) -> Accounting:
        """Return the counts of both together."""
        return Accounting(
            self.perhaps_accepted + other.perhaps_accepted,
            self.given_up + other.given_up,
            self.faults + other.faults,
            self.met_faults + other.met_faults,
            self.repeated_ids + other.repeated_ids,
        )


def account(samples: pa.Table) -> Accounting:
    """Return the counts of some rows, except for ids: these may repeat in other rows."""
    has_id, sent = pc.is_valid(samples.column("job_id")), pc.is_valid(samples.column("sent_at"))
    ended = pc.is_in(pc.cast(samples.column("outcome"), pa.string()), value_set=pa.array(sorted(SEEN_FINAL)))
    faults = pc.fill_null(samples.column("faults"), 0)
    return Accounting(
        perhaps_accepted=_perhaps_accepted(samples.filter(pc.and_(sent, pc.invert(pc.or_(has_id, ended))))),
        given_up=_count(pc.and_(has_id, pc.invert(ended))),
        faults=pc.sum(faults).as_py() or 0,
        met_faults=_count(pc.greater(faults, 0)),
    )


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _perhaps_accepted(unknown: pa.Table) -> int:
    keys = ["error_kind", "http_status"]
    kinds = unknown.select(keys).set_column(0, keys[0], pc.cast(unknown.column(keys[0]), pa.string()))
    groups = kinds.group_by(keys).aggregate([([], "count_all")]).to_pylist()
    return sum(row["count_all"] for row in groups if not certainly_refused(row["error_kind"], row["http_status"]))


def id_hashes(samples: pa.Table) -> NDArray[np.int64]:
    """Return a number for each job with an id, equal for equal ids; ten million ids would take a gigabyte.

    The ids of OpenAI answers are left out: the worker gives them, and they may repeat.
    """
    given = samples.column("job_id")
    by_worker = pc.equal(pc.cast(samples.column("flow"), pa.string()), "openai")
    if pc.any(by_worker).as_py():
        given = given.filter(pc.invert(by_worker))
    ids = given.drop_null().to_numpy()
    return np.fromiter(map(hash, ids), np.int64, len(ids))


def repeated(hashes: Iterable[NDArray[np.int64]]) -> int:
    """Return how many of all jobs have an id that another job has as well, beyond the first with that id."""
    every = np.concatenate([np.empty(0, np.int64), *hashes])
    every.sort()
    return int(np.count_nonzero(every[1:] == every[:-1]))


def left_on_endpoint(accounting: Accounting, cancelled: int) -> LeftOnEndpoint:
    """Return the jobs that the endpoint may still have, after this many were cancelled."""
    return LeftOnEndpoint(max(0, accounting.given_up - cancelled), accounting.perhaps_accepted, cancelled)


def left_text(left: LeftOnEndpoint) -> str:
    """Return a sentence about the jobs that the endpoint may still have; nothing if there are none."""
    known = f"{jobs_text(left.known_ids)} with a known id" if left.known_ids else ""
    unknown = f"up to {jobs_text(left.unknown_ids)} without one" if left.unknown_ids else ""
    named = " and ".join(filter(None, (known, unknown)))
    return f"Left on the endpoint: {named}." if named else ""


def jobs_text(count: int) -> str:
    """Return a number of jobs as text."""
    return "1 job" if count == 1 else f"{count:,} jobs"

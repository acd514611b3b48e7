"""What is left when a run is over: jobs that nobody waits for any more are cancelled, one by one."""

from __future__ import annotations

import gevent
from gevent.pool import Pool

from loadtest.drive.sender import FlowExecutor
from loadtest.protocol import OPERATIONS, Op
from loadtest.record.sample import Sample

CANCEL_CONCURRENCY = 20


def cancel_unfinished(unfinished: list[Sample], sender: FlowExecutor, within_s: float) -> int:
    """Cancel accepted jobs within the limit of that operation; how many the server took off its queue."""
    ids = [sample.job_id for sample in unfinished if sample.job_id is not None]
    done: list[str] = []

    def cancel_one(job_id: str) -> None:
        answer = sender.request(Op.CANCEL, OPERATIONS[Op.CANCEL].path.format(id=job_id))
        if answer.status == 200:
            done.append(job_id)

    pool = Pool(CANCEL_CONCURRENCY)
    gevent.with_timeout(within_s, pool.map, cancel_one, ids, timeout_value=None)
    pool.kill()
    return len(done)

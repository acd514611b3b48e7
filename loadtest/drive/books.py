"""What goes into `run.json` about the processes of a run."""

from __future__ import annotations

import os
from socket import gethostname

import msgspec
import psutil

from loadtest.drive.crew import Crew, Member
from loadtest.record.run import ProcessInfo, Run


def process_info(member: Member) -> ProcessInfo:
    """A hand as the record names it; one that was never asked for its time is this process itself."""
    return ProcessInfo(
        process=member.process,
        pid=member.pid or os.getpid(),
        host=member.host or gethostname(),
        clock_offset_s=member.clock_offset_s,
        clock_error_s=member.round_trip_s / 2 if member.met else None,
        cpu_share=member.report.cpu_share if member.report is not None else None,
    )


def with_outcome(run: Run, crew: Crew, load_ended_at: float) -> Run:
    """The record of a run with what its hands said at the end; times in seconds since the epoch."""
    done = [member.done for member in crew.members.values() if member.done is not None]
    return msgspec.structs.replace(
        run,
        processes=[process_info(member) for member in crew.members.values() if member.begun],
        load_ended_at=load_ended_at,
        cancelled=sum(each.cancelled for each in done),
        left_over=sum(each.left_over for each in done),
    )


def is_running(pid: int) -> bool:
    """Whether a process of this machine runs; one that has ended and is not reaped does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

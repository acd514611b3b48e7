"""The open files of a process that sends: how many it may have, and how many a load may need."""

from __future__ import annotations

import resource
from contextlib import suppress

OWN_FILES = 64
"""The open files of a process that are not connections to the endpoint: libraries, shards, links to the others."""
UNLIMITED = 2**31


def raise_limit() -> int:
    """Raise the limit of open files of this process and its children as far as the system allows; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS has a lower limit than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


def too_few(connections: int, limit: int) -> str:
    """Return why a process may lack open files for this many connections at once; empty if it has enough."""
    needed = connections + OWN_FILES
    if needed <= limit:
        return ""
    return (
        f"{connections:,} connections at once would need {needed:,} open files, the limit is {limit:,}; "
        f"raise it with: ulimit -n {needed}"
    )

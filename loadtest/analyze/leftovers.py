"""The counts in a summary of jobs that may still be on the endpoint, and of faults; quick to import."""

from __future__ import annotations

import msgspec


class LeftOnEndpoint(msgspec.Struct, frozen=True):
    """Jobs that the endpoint may still have: given up and not cancelled, or perhaps accepted without a known id.

    `cancelled` counts the jobs that were given up and have ended since, as the endpoint confirmed.
    """

    known_ids: int = 0
    unknown_ids: int = 0
    cancelled: int = 0


NONE_LEFT = LeftOnEndpoint()


class Faults(msgspec.Struct, frozen=True):
    """Responses of no use after which a job was submitted or polled again, 429s apart, and the jobs that met any."""

    responses: int = 0
    jobs: int = 0

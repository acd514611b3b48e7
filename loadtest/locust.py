"""The users of a locustfile of one's own: `from loadtest.locust import EndpointUser`.

Importing it makes Locust drive its users as it drives those of a scenario.
"""

from __future__ import annotations

# Importing it also ties the run to Locust's events.
from loadtest.drive.locustfile import EndpointUser
from loadtest.drive.tasks.endpoint import Endpoint
from loadtest.drive.tasks.jobs import Job

__all__ = ["Endpoint", "EndpointUser", "Job"]

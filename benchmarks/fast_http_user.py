"""A usual Locust test: its faster user, which records only Locust's own statistics."""

from __future__ import annotations

from locust import FastHttpUser, task

HEADERS = {"Authorization": "Bearer local", "Content-Type": "application/json"}


class Plain(FastHttpUser):
    """A user that posts to /runsync without a pause."""

    @task
    def post(self) -> None:
        """Post one request."""
        self.client.post("/runsync", data=b'{"input":{"prompt":"hello"}}', headers=HEADERS)

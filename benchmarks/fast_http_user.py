"""What most people would write: Locust's faster user, nothing recorded but Locust's own statistics."""

from __future__ import annotations

from locust import FastHttpUser, task

HEADERS = {"Authorization": "Bearer local", "Content-Type": "application/json"}


class Plain(FastHttpUser):
    """Posts to /runsync again and again."""

    @task
    def post(self) -> None:
        """One request."""
        self.client.post("/runsync", data=b'{"input":{"prompt":"hello"}}', headers=HEADERS)

from __future__ import annotations

import pytest

from loadtest.scenario.target import is_loopback


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8000/v2/x", True),
        ("http://127.9.9.9/v2/x", True),
        ("http://[::1]:8000/v2/x", True),
        ("http://localhost/v2/x", True),
        ("https://api.runpod.ai/v2/x", False),
        ("http://127.0.0.1.example.com/v2/x", False),
    ],
)
def test_loopback_is_this_machine_and_nothing_else(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback

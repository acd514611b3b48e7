from __future__ import annotations

import pytest

from loadtest.errors import RunAborted
from loadtest.flows.health import read_health
from loadtest.flows.steps import Response


def test_the_development_server_of_the_sdk_is_refused_with_what_to_write_instead() -> None:
    """It has /run and /status, and answers 404 to /health."""
    with pytest.raises(RunAborted, match=r"\(--rp_serve_api\), its file: target: \{handler: handler.py\}"):
        read_health("http://127.0.0.1:8000", Response(404, b'{"detail":"Not Found"}', 0.0, 0.1))

"""The example and the page on locustfiles use what a task's endpoint has."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

from loadtest.drive.tasks.endpoint import Endpoint
from loadtest.drive.tasks.jobs import Job

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "how-to" / "write-your-own-locustfile.md").read_text()
EXAMPLES = [*re.findall(r"(?s)```python\n(.*?)```", PAGE), (ROOT / "examples" / "two_jobs.py").read_text()]


def test_examples_call_the_endpoint_with_arguments_that_it_accepts() -> None:
    calls = [node for text in EXAMPLES for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    of_endpoint = [node for node in calls if ast.unparse(node.func).startswith("self.endpoint.")]
    assert len(of_endpoint) >= 7
    for node in of_endpoint:
        assert isinstance(node.func, ast.Attribute)
        named = {each.arg or "": None for each in node.keywords}
        inspect.signature(getattr(Endpoint, node.func.attr)).bind(None, *node.args, **named)


def test_the_page_lists_every_call_and_every_property_of_a_job() -> None:
    calls = set(re.findall(r"^\| `self\.endpoint\.(\w+)\(", PAGE, re.MULTILINE))
    assert calls == {name for name in vars(Endpoint) if not name.startswith("_")} - {"close"}
    properties = {name for name, value in vars(Job).items() if isinstance(value, property)}
    assert properties - set(re.findall(r"`(\w+)`", PAGE)) == set()

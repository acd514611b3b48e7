from __future__ import annotations

from typing import Any

import pytest

from loadtest.errors import UsageError
from loadtest.scenario.environment import api_key
from loadtest.scenario.model import Scenario


def scenario(target: Any) -> Scenario:
    return Scenario.model_validate(
        {"name": "s", "target": target, "load": {"stages": [{"rate": "1/s", "for": "1s"}]}, "ceilings": {"jobs": 1}}
    )


def test_local_targets_have_a_key_of_their_own() -> None:
    assert api_key(scenario("embedded"), {}) == "local"
    assert api_key(scenario("http://localhost:1/v2/x"), {"LOADTEST_API_KEY": "k"}) == "k"
    assert api_key(scenario("embedded"), {"RUNPOD_API_KEY": "never"}) == "local"


def test_a_remote_target_needs_its_variable() -> None:
    remote = scenario("https://api.runpod.ai/v2/x")
    assert api_key(remote, {"RUNPOD_API_KEY": "k"}) == "k"
    with pytest.raises(UsageError, match="RUNPOD_API_KEY is not set"):
        api_key(remote, {"LOADTEST_API_KEY": "k"})


def test_a_named_variable_is_the_only_one() -> None:
    named = scenario({"url": "http://localhost:1/v2/x", "key_variable": "MINE"})
    assert api_key(named, {"MINE": "k"}) == "k"
    with pytest.raises(UsageError, match="MINE"):
        api_key(named, {"LOADTEST_API_KEY": "k"})


@pytest.mark.parametrize("key", ["rpa_A1b2C3d4E5f6", "sk_live_abcdef", "Secret1"])
def test_a_key_in_the_place_of_its_variable_is_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="name a variable there, like RUNPOD_API_KEY") as refused:
        api_key(scenario({"url": "https://api.runpod.ai/v2/x", "key_variable": key}), {})
    assert key not in str(refused.value)


@pytest.mark.parametrize("key", ["k\n", "two words", "k\r\nX-Other: 1", "\x00"])
def test_a_key_that_would_break_the_header_is_refused_and_not_repeated(key: str) -> None:
    for target, name in (("embedded", "LOADTEST_API_KEY"), ("https://api.runpod.ai/v2/x", "RUNPOD_API_KEY")):
        with pytest.raises(UsageError) as refused:
            api_key(scenario(target), {name: key})
        assert name in str(refused.value)
        assert key not in str(refused.value)

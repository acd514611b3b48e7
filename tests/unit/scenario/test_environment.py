"""The key and the proxy that the environment names for a target."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import UsageError
from loadtest.scenario.environment import Proxy, api_key, key_note, proxy_for
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


LOCAL, REMOTE = ("embedded", "LOADTEST_API_KEY"), ("https://api.runpod.ai/v2/x", "RUNPOD_API_KEY")


@pytest.mark.parametrize(("target", "name"), [LOCAL, REMOTE])
@given(
    before=st.text("abcXYZ019_-", min_size=1, max_size=20),
    odd=st.characters(exclude_characters="".join(map(chr, range(0x21, 0x7F)))),
    after=st.text("abcXYZ019_-", min_size=1, max_size=20),
)
def test_key_that_does_not_fit_into_a_header_is_refused_and_not_shown(
    target: str, name: str, before: str, odd: str, after: str
) -> None:
    with pytest.raises(UsageError) as refused:
        api_key(scenario(target), {name: f"KEY{before}{odd}{after}KEY"})
    text = str(refused.value)
    assert f"the key in {name}" in text
    assert f"position {len(before) + 4} of {len(before) + len(after) + 7}" in text
    assert "KEY" not in text.replace(name, "")
    assert odd == " " or odd not in text


@pytest.mark.parametrize("key", ["sk\u2013live", "sk\u00e9", "\x00k", "a b", "k\r\nX-Other: 1", "\udce9k"])
def test_key_with_a_dash_of_an_office_program_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="copy it again from where it was issued"):
        api_key(scenario("embedded"), {"LOADTEST_API_KEY": key})


@pytest.mark.parametrize("key", ["k\n", " k", "\tk\r\n", "\u00a0k\u00a0"])
def test_white_space_around_a_key_is_left_out_with_a_note(key: str) -> None:
    environment = {"LOADTEST_API_KEY": key}
    assert api_key(scenario("embedded"), environment) == "k"
    note = key_note(scenario("embedded"), environment)
    assert note == "the key in LOADTEST_API_KEY has white space around it, which is left out"
    assert key_note(scenario("embedded"), {"LOADTEST_API_KEY": "k"}) is None
    assert key_note(scenario("embedded"), {}) is None


PLAIN, SECURE = "http://target.invalid/v2/x", "https://target.invalid/v2/x"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_connection_without_a_proxy_is_direct() -> None:
    assert proxy_for(PLAIN) is None
    assert proxy_for(SECURE) is None


def test_each_scheme_has_its_own_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://one.invalid:3128")
    assert proxy_for(PLAIN) == Proxy("one.invalid", 3128)
    assert proxy_for(SECURE) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    assert proxy_for(PLAIN) == Proxy("one.invalid", 3128)
    assert proxy_for(SECURE) == Proxy("two.invalid", 3129)


def test_proxy_of_the_scheme_overrides_all_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.invalid:1080")
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    assert proxy_for(PLAIN) == Proxy("all.invalid", 1080)
    assert proxy_for(SECURE) == Proxy("two.invalid", 3129)


def test_lower_case_variable_overrides_upper_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://capital.invalid:1")
    monkeypatch.setenv("http_proxy", "http://small.invalid:2")
    assert proxy_for(PLAIN) == Proxy("small.invalid", 2)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]"])
def test_loopback_is_reached_directly(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://all.invalid:1080")
    assert proxy_for(f"http://{host}:8000/v2/x") is None


@pytest.mark.parametrize(
    ("excepted", "direct"),
    [
        ("target.invalid", True),
        ("invalid", True),
        (".invalid", True),
        ("other.invalid, target.invalid", True),
        ("target.invalid:8443", True),
        ("*", True),
        ("target.invalid:9", False),
        ("get.invalid", False),
        ("", False),
    ],
)
def test_no_proxy_targets_are_reached_directly(monkeypatch: pytest.MonkeyPatch, excepted: str, direct: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://two.invalid:3129")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (proxy_for("https://target.invalid:8443/v2/x") is None) is direct


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("one.invalid:3128", Proxy("one.invalid", 3128)),
        ("one.invalid", Proxy("one.invalid", 80)),
        ("http://[fd00::1]:3128/", Proxy("fd00::1", 3128)),
        # me:pass word, me: and m@e:p:w in base64
        (
            "http://me:pass%20word@one.invalid:1",
            Proxy("one.invalid", 1, {"Proxy-Authorization": "Basic bWU6cGFzcyB3b3Jk"}),
        ),
        ("http://me@one.invalid:1", Proxy("one.invalid", 1, {"Proxy-Authorization": "Basic bWU6"})),
        ("m%40e:p%3Aw@one.invalid:1", Proxy("one.invalid", 1, {"Proxy-Authorization": "Basic bUBlOnA6dw=="})),
    ],
)
def test_proxy_url_may_omit_scheme_port_or_password(monkeypatch: pytest.MonkeyPatch, url: str, proxy: Proxy) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    assert proxy_for(PLAIN) == replace(proxy, secrets=ANY)


def test_password_of_a_proxy_is_secret_as_it_is_and_as_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:pass%20word@one.invalid:1")
    proxy = proxy_for(PLAIN)
    assert proxy is not None
    assert set(proxy.secrets) == {"pass word", "bWU6cGFzcyB3b3Jk"}
    assert "pass" not in repr(proxy)


@pytest.mark.parametrize(
    "url",
    [
        "socks5://me:SECRET@one.invalid:1080",
        "socks5h://one.invalid",
        "https://me:SECRET@one.invalid:3128",
        "http://me:SECRET@one..invalid:3128",
        "http://one.invalid:SECRET",
        "http://[::1:3128",
        "http://",
        "//SECRET@",
    ],
)
@pytest.mark.parametrize(
    ("variable", "target"), [("http_proxy", PLAIN), ("HTTPS_PROXY", SECURE), ("ALL_PROXY", PLAIN)]
)
def test_proxy_that_is_not_spoken_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, url: str, variable: str, target: str
) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(UsageError) as refused:
        proxy_for(target)
    text = str(refused.value)
    assert text.startswith(f"target: {variable.upper()} names no HTTP proxy")
    assert "SECRET" not in text
    assert "\n" not in text


def test_proxy_is_shown_without_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://me:SECRET@one.invalid:3128")
    proxy = proxy_for(PLAIN)
    assert (str(proxy), repr(proxy)) == ("one.invalid:3128", "Proxy(host='one.invalid', port=3128)")


@pytest.mark.parametrize("key", ["rpa_A1b2C3d4E5f6", "sk_live_abcdef", "Secret1"])
def test_a_key_in_the_place_of_its_variable_is_not_repeated(key: str) -> None:
    with pytest.raises(UsageError, match="name a variable there, like RUNPOD_API_KEY") as refused:
        api_key(scenario({"url": "https://api.runpod.ai/v2/x", "key_variable": key}), {})
    assert key not in str(refused.value)

"""No message repeats a password or a key, whatever command or file it is in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loadtest.errors import ScenarioError, UsageError, without_secrets
from loadtest.scenario.loading.load import load_scenario
from loadtest.units import quoted

LOAD = "load: {stages: [{rate: 20/s, for: 15s}]}\n"
SECRET = "hunter2hunter2"
URLS = [
    f"https://user:{SECRET}@api.runpod.ai/v2/x",
    f"https://{SECRET}@api.runpod.ai/v2/x",
    f"https://user:{SECRET}/with@api.runpod.ai/v2/x",
    f"https://user:p@{SECRET}@api.runpod.ai/v2/x",
    f"https://user:{SECRET}@",
    f"http://user:{SECRET}@10.0.0.5:8000/v2/x",
    f"https://api.runpod.ai/v2/x?api_key={SECRET}",
    f"https://api.runpod.ai/v2/x?a=1&token={SECRET}",
    f"https://api.runpod.ai:0/v2/x?token={SECRET}#f",
    f"user:{SECRET}@api.runpod.ai/v2/x",
    f"https://user:{'x' * 100}{SECRET}@api.runpod.ai/v2/x",
    f"rpa_{SECRET}",
    f"http://u:pass {SECRET}@host",
    f"https://u:{SECRET} word@api.runpod.ai/v2/x",
    f"https://u:p@ss / {SECRET}\t'quote' @api.runpod.ai/v2/x",
    f"https://u:{SECRET} {SECRET}@api.runpod.ai/v2/x?token={SECRET}",
]


@pytest.mark.parametrize("url", URLS)
def test_no_message_about_a_target_repeats_its_secrets(url: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(LOAD)
    written = tmp_path / "y.yaml"
    written.write_text(f'{LOAD}target: "{url}"\n')
    attempts = [
        lambda: load_scenario(path, target=url),
        lambda: load_scenario(path, [f"target={url}"]),
        lambda: load_scenario(path, [f"target.url={url}", "target.nonsense=1"]),
        lambda: load_scenario(path, [f"flows.run.polling={url}"]),
        lambda: load_scenario(written),
    ]
    for attempt in attempts:
        with pytest.raises(ScenarioError) as refused:
            attempt()
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", ["key", "api_key", "key_variable", "headers"])
def test_a_key_below_the_target_is_not_repeated(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f'{LOAD}target: {{url: "https://api.runpod.ai/v2/x", {name}: {SECRET}-1}}\n')
    plain = tmp_path / "y.yaml"
    plain.write_text(LOAD)
    changes = ["target.url=https://api.runpod.ai/v2/x", f"target.{name}={SECRET}-1"]
    for attempt in (lambda: load_scenario(path), lambda: load_scenario(plain, changes)):
        with pytest.raises(ScenarioError) as refused:
            attempt()
        assert name in str(refused.value)
        assert SECRET not in str(refused.value)


@given(
    st.text(st.characters(codec="ascii", exclude_characters="\"'?&=@:/ \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f"), min_size=6)
)
def test_errors_and_quoted_values_are_without_secrets(secret: str) -> None:
    assume(secret not in "target: refused")
    for text in (f"https://u:{secret}@host/v2", f"https://host/v2?key={secret}", f"u:{secret}@host"):
        assert without_secrets(f"target: {text}: refused") == str(UsageError(f"target: {text}: refused"))
        assert secret not in without_secrets(f'target: "{text}": refused').replace("https://…@host/v2", "")
        assert quoted(text) == f'"{without_secrets(text)}"'


@pytest.mark.parametrize(
    "text",
    [
        'x.yaml:9: load.stages[0].rate: "20" has no unit; write "20/s"',
        "http://127.0.0.1:8000/v2/x: ask me@example.com, http://127.0.0.1:8000: and http://[::1]:80, me@x",
        'target: "https://api.runpod.ai/v2/ID" answers /health with HTTP 500; is it an endpoint?',
        "cannot listen on ::1 port 80: in use; /runsync?wait=1000 is not a question? no",
        '--bind: "127.0.0.1:abc" is not an address; write it like "10.0.0.5:5557"',
        "ask me@example.com",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert without_secrets(text) == text
    assert str(UsageError(text)) == text


def test_a_long_text_is_read_in_one_pass() -> None:
    for part in ("a:", "://", "@", "?a=", "&", "x", "://a:b ", "a: ", "://u:"):
        assert without_secrets(part * 100_000)

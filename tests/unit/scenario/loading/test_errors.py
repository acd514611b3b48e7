"""Every kind of error in a scenario gives exactly one line: file, line, path, what is wrong, and the fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import ScenarioError
from loadtest.scenario.loading.load import apply_override, load_scenario, load_settings, parse_override
from loadtest.scenario.loading.yaml_document import parse_yaml

SMOKE = Path(__file__).parents[4] / "scenarios" / "smoke.yaml"
LOAD = "load:\n  stages:\n    - rate: 20/s\n      for: 15s\n"


def refusal(folder: Path, text: str, *overrides: str, **given: object) -> str:
    path = folder / "x.yaml"
    path.write_text(text)
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path, overrides, **given)  # type: ignore[arg-type]
    line = str(refused.value)
    assert "\n" not in line
    return line.replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            LOAD.replace("20/s", "20"),
            'x.yaml:3: load.stages[0].rate: "20" is not a rate with its unit; write it like "20/s"',
        ),
        (
            LOAD.replace("20/s", "-5/s"),
            'x.yaml:3: load.stages[0].rate: "-5/s" is negative; a rate is zero or more',
        ),
        (LOAD.replace("rate", "ratee"), 'x.yaml:3: load.stages[0]: unknown key "ratee"; did you mean "rate"?'),
        (LOAD.replace("rate", "wholly"), 'x.yaml:3: load.stages[0]: unknown key "wholly"; use one of'),
        (LOAD.replace("      for: 15s\n", ""), 'load.stages[0]: "for" is missing; add it, like "for: 30s"'),
        (LOAD.replace("15s", "0s"), 'x.yaml:4: load.stages[0].for: "0s" is out of range; it must be more than 0s'),
        (LOAD.replace("15s", "30d"), "it must be at most 604800s"),
        (LOAD + "sead: 3\n", 'x.yaml:5: unknown key "sead"; did you mean "seed"?'),
        (LOAD + "seed: -1\n", 'x.yaml:5: seed: "-1" is out of range; it must be at least 0'),
        (LOAD + "question: 5\n", 'x.yaml:5: question: "5" is not text; put it in quotes'),
        (LOAD + "name: a b\n", 'x.yaml:5: name: "a b" is not valid here; write it like "steady-20"'),
        (LOAD + "drain:\n", "x.yaml:5: drain: nothing is given, but a mapping is needed"),
        (LOAD + "flows: [run]\n", "x.yaml:5: flows: a list is given, but a mapping is needed"),
        (LOAD + "flows: {rn: {}}\n", 'x.yaml:5: flows: unknown key "rn"; did you mean "run"?'),
        (LOAD + "flows: {}\n", "x.yaml:5: flows: this is empty; write at least one"),
        (LOAD + "flows: {run: {weight: 0}}\n", 'flows.run.weight: "0" is out of range; it must be more than 0'),
        (
            LOAD + "flows: {run: {polling: {policy: eager}}}\n",
            "\"eager\" should be 'fixed', 'backoff', 'shared' or 'long'",
        ),
        (LOAD + "flows: {runsync: {wait: 1ms}}\n", "flows.runsync.wait: outside what /runsync takes; write 1s to"),
        (LOAD + "limits: {rnu: 5/s}\n", 'x.yaml:5: limits: unknown key "rnu"; did you mean "run"?'),
        (LOAD + "limits: {run: 5}\n", 'x.yaml:5: limits.run: "5" is not a rate with its unit; write it like "5/s"'),
        (LOAD + "target: api\n", 'x.yaml:5: target: "api" is not valid here; write it like "https://'),
        (LOAD + "target: {key_variable: X}\n", 'x.yaml:5: target: "url" is missing; add it, like "url: https://'),
        (LOAD + "endpoint: {service: 5}\n", 'endpoint.service: "5" is not a time with its unit; write it like "5s"'),
        (LOAD + "endpoint:\n  service: [1s, 5]\n", 'x.yaml:6: endpoint.service[1]: "5" is not a time'),
        (LOAD + "endpoint: {service: {median: 1s}}\n", '"sigma" is missing; add it, like "sigma: 0.3"'),
        (LOAD + "endpoint: {service: {medain: 1s, sigma: 1}}\n", 'unknown key "medain"; did you mean "median"?'),
        (LOAD + "endpoint: {scaler: {request_cout: 1}}\n", 'did you mean "request_count"?'),
        (LOAD + "endpoint:\n  workers:\n    active: 5\n", "x.yaml:6: endpoint.workers: active 5 is more than max 3"),
        (LOAD + "endpoint:\n  workers:\n    active: x\n", 'x.yaml:7: endpoint.workers.active: "x" should be a valid'),
        (LOAD + "endpoint: {service: 1s, chunks: {count: 1, first: 1s}}\n", "service and chunks both say"),
        (LOAD + "abort: {errors: 0.5}\n", 'abort.errors: "0.5" is not a share with its sign'),
        (LOAD + "price: dear\n", 'x.yaml:5: price: "dear" should be a valid number'),
        (
            "load:\n  model: opn\n  stages: []\n",
            'x.yaml:2: load.model: "opn" is not a load model; write "open" or "closed"',
        ),
        (
            LOAD.replace("load:", "load:\n  arrivals: even"),
            "x.yaml:2: load.arrivals: \"even\" should be 'constant' or 'poisson'",
        ),
        (
            LOAD.replace("load:", "load:\n  arrivals: {gama_cv: 2}"),
            'load.arrivals: unknown key "gama_cv"; did you mean "gamma_cv"?',
        ),
        ("load:\n  stages: []\n", "x.yaml:2: load.stages: this is empty; write at least one"),
        ("load:\n  stages: 5\n", 'x.yaml:2: load.stages: "5" is given, but a list is needed'),
        ("load: 5\n", 'x.yaml:1: load: "5" is given, but a mapping is needed'),
        ("seed: 1\n", 'x.yaml:1: "load" is missing; add it, like "load: {stages: [{for: 60s, rate: 20/s}]}"'),
        (LOAD.replace("20/s", "0/s"), "every stage has rate 0/s"),
        (
            "load: {model: closed, stages: [{users: -3, for: 5s}]}",
            '"-3" is not a number of users; write it like "10"',
        ),
        ("", "x.yaml: the file is empty"),
        ("# nothing\n", "x.yaml: the file is empty"),
        ("- 1\n", "x.yaml: holds a list, not a mapping"),
        ("just words\n", 'x.yaml: holds "just words", not a mapping'),
        ("a: [1\nb: 2\n", "x.yaml:2: not YAML: expected ',' or ']', but got ':'"),
        ("a: b: c\n", "x.yaml:1: not YAML: a second colon on one line; put the value in quotes"),
        ("seed: 1\nseed: 2\n", 'x.yaml:2: "seed" is given twice; keep one of them'),
        ("question: 2026-01-01\n", 'x.yaml:1: "2026-01-01" reads as a timestamp'),
        ("price: .inf\n", 'x.yaml:1: ".inf" is not a finite number'),
        (LOAD + "price: 1e999\n", 'x.yaml:5: price: "1e999" is not a finite number'),
        ("seed: 99999999999999999999\n", "is out of range; it must be less than 9223372036854775808"),
        ('question: "\\ud800"\n', "x.yaml:1: half of a surrogate pair is not a character"),
        (LOAD + "flows: {run: {weight: 1e308}}\n", 'flows.run.weight: "1e+308" is out of range; it must be at most'),
        (LOAD + "target: http://127.0.0.1:99999/v2/x\n", "is not an endpoint's URL; write it like \"https://"),
        (LOAD + "target: http://127.0.0.1:1/v2/ü\n", "is not an endpoint's URL; write it like \"https://"),
        (LOAD + "limits: {run: 1 per 1 s, 0 at once}\n", "limits: unknown key"),
        ("seed: !!int x\n", 'x.yaml:1: "x" cannot be read as int; put it in quotes for text'),
        ("seed: !!bool x\n", 'x.yaml:1: "x" cannot be read as bool'),
        ("price: ._\n", 'x.yaml:1: "._" cannot be read as float'),
        ("1: 2\n", 'x.yaml:1: "1" is a key and not text; put it in quotes'),
        ("? [a]\n: 2\n", "x.yaml:1: a list or a mapping is a key and not text; put it in quotes"),
        ("a: &x [*x]\n", "x.yaml:1: an anchor contains itself"),
        ("a: !python/object:os.system ls\n", 'x.yaml:1: "ls" reads as a '),
        ("a: !foo {b: 1}\n", 'x.yaml:1: a list or a mapping has the tag "foo", which is not allowed here; remove'),
        (
            "seed: 1\na: \x01\n",
            "x.yaml:2: not YAML: it holds the control character U+0001; delete it, or write it in",
        ),
        ("load:\n\tstages: 1\n", "x.yaml:2: not YAML: a tab at the beginning of a line; indent with spaces"),
        ("seed:\u00a01\nprice: 1\n", "x.yaml:2: not YAML: a no-break space is not white space there"),
        ("seed: 1\n  price: 1\n", "x.yaml:2: not YAML: a key is indented under a value; align it"),
        (
            "question: @you\n",
            "x.yaml:1: not YAML: character '@' that cannot start any token; put the value in quotes",
        ),
        ("[" * 500, "x.yaml: nested too deeply"),
        ("--- {a: 1}\n--- {b: 2}\n", 'x.yaml:2: a second document begins with "---"; keep one in each file'),
    ],
)
def test_an_error_is_one_line_with_its_place_and_a_remedy(tmp_path: Path, text: str, line: str) -> None:
    assert line in refusal(tmp_path, text)


def test_of_several_errors_the_first_by_line_is_reported(tmp_path: Path) -> None:
    line = refusal(tmp_path, "zeed: 1\n" + LOAD.replace("20/s", "20") + "price: dear\n")
    assert line.startswith('x.yaml:1: unknown key "zeed"')


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("load.stages.0.rate=5", '--set load.stages.0.rate=5: "5" is not a rate with its unit; write it like "5/s"'),
        ("load.stages.1.rate=5/s", '--set load.stages.1.rate=5/s: load.stages is a list of 1; "1" is not an index'),
        ("load.stages.0.for.x=5", 'load.stages[0].for is "15s", which has no keys; set load.stages[0].for itself'),
        ("foo.bar=1", '--set foo.bar=1: unknown key "foo"; use one of name, question'),
        ("endpoint.service.median=5s", '--set endpoint.service.median=5s: endpoint.service: "sigma" is missing'),
        (
            "endpoint.workers.active=5",
            "--set endpoint.workers.active=5: endpoint.workers: active 5 is more than max 3",
        ),
        ("load.stages.0.rate=500/s", "--set load.stages.0.rate=500/s: offers 500/s to /run"),
        ("seed=", "--set seed=: nothing should be a valid integer"),
        ("seed", "--set seed: not KEY=VALUE; write it like"),
        ("a..b=3", "--set a..b=3: not KEY=VALUE"),
        ("question=[", "--set question=[:1: not YAML"),
    ],
)
def test_an_error_of_an_override_names_the_override(tmp_path: Path, override: str, line: str) -> None:
    assert line in refusal(tmp_path, LOAD, override)


def test_an_error_of_the_file_is_not_blamed_on_an_override(tmp_path: Path) -> None:
    assert refusal(tmp_path, LOAD + "endpoint: {cold_start: 5}\n", "endpoint.workers.max=5").startswith("x.yaml:5:")
    assert refusal(tmp_path, "name: a\n", "seed=4").startswith('x.yaml:1: "load" is missing')


SECRET_URLS = [
    "https://me:SECRET@example.org/v2/x",
    "https://SECRET@example.org/v2/x",
    "https://me:SE/SECRET@example.org/v2/x",
    "https://example.org/v2/x?key=SECRET",
    "https://example.org/v2/x#SECRET",
    "https://me:SECRET@exa mple.org/v2/x",
    "https://me:SECRET@[::1/v2/x",
    "https://me:SECRET@a..b/v2/x",
    "me:SECRET@example.org/v2/x",
    "ftp://me:SECRET@example.org",
]


@pytest.mark.parametrize("url", SECRET_URLS)
@pytest.mark.parametrize("place", ["target: {}", "target: {{url: {}}}", "target: [{}]", "webhooks: {{url: {}}}"])
def test_secret_in_a_url_is_refused_and_not_repeated(tmp_path: Path, place: str, url: str) -> None:
    line = refusal(tmp_path, LOAD + place.format(json.dumps(url)) + "\n")
    assert line.startswith("x.yaml:5: ")
    assert "SECRET" not in line


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secret_in_a_url_on_the_command_line_is_not_repeated(tmp_path: Path, url: str) -> None:
    for line in (
        refusal(tmp_path, LOAD, target=url),
        refusal(tmp_path, LOAD, f"target={url}"),
        refusal(tmp_path, LOAD + "target: https://example.org/v2/x\n", f"target.url={url}"),
        refusal(tmp_path, LOAD, f"webhooks.url={url}"),
    ):
        assert line.startswith("--")
        assert "SECRET" not in line


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example.org", ".example.org"])
def test_host_that_no_name_server_knows_is_refused(tmp_path: Path, host: str) -> None:
    line = refusal(tmp_path, LOAD + f"target: https://{host}/v2/x\n")
    assert line.endswith('is not an endpoint\'s URL; write it like "https://api.runpod.ai/v2/ID"')


def test_seed_and_target_are_named_as_the_options_that_they_are(tmp_path: Path) -> None:
    assert refusal(tmp_path, LOAD, seed=-4).startswith('--seed -4: "-4" is out of range')
    assert refusal(tmp_path, LOAD, target="nowhere").startswith('--target nowhere: "nowhere" is not valid here')


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"none\.yaml: no such file"):
        load_scenario(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="not a text file in UTF-8"):
        load_scenario(tmp_path / "b.yaml")
    with pytest.raises(ScenarioError, match="cannot be read: Is a directory"):
        load_scenario(tmp_path)


def test_errors_in_the_settings_of_an_endpoint_have_the_same_form(tmp_path: Path) -> None:
    path = tmp_path / "endpoint.yaml"
    path.write_text("workers:\n  activ: 2\n")
    with pytest.raises(
        ScenarioError, match=r'endpoint\.yaml:2: workers: unknown key "activ"; did you mean "active"\?'
    ):
        load_settings(path)


def test_a_password_in_a_url_is_refused_and_not_repeated(tmp_path: Path) -> None:
    line = refusal(tmp_path, LOAD + "target: https://me:s3cret@example.org/v2/x\n")
    assert "holds a user or a password" in line
    assert "s3cret" not in line


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


PIECES = [
    "!!int ",
    "!!float ",
    "!!bool ",
    "!x ",
    "a",
    ": ",
    "\n",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&x ",
    "*x",
    "<<: ",
    "1",
    ".",
]
PIECES += [
    "e",
    "0x",
    "_",
    ".inf",
    "'",
    '"',
    "|",
    "> ",
    "%YAML 1.1\n",
    "---",
    "...",
    "?",
    "#",
    "\t",
    "2020-01-01",
    "~",
]


def one_line_or_none(refused: ScenarioError | None) -> bool:
    return refused is None or len(str(refused).splitlines()) == 1


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_any_text_is_a_document_or_one_line(text: str) -> None:
    error = None
    try:
        parse_yaml(text, "x.yaml")
    except ScenarioError as refused:
        error = refused
    assert one_line_or_none(error)


PLACES = [
    "load",
    "load.stages",
    "load.stages.0",
    "load.stages.0.rate",
    "load.arrivals",
    "flows",
    "flows.run",
    "target",
]
PLACES += [
    "flows.run.polling",
    "limits",
    "limits.run",
    "endpoint",
    "endpoint.service",
    "endpoint.scaler",
    "abort",
    "name",
]
PLACES += [
    "endpoint.workers",
    "endpoint.chunks",
    "endpoint.revival",
    "ceilings",
    "seed",
    "price",
    "load.model",
    "job_timeout",
]
KEYS = [
    "a",
    "file",
    "median",
    "values",
    "constant",
    "gamma_cv",
    "url",
    "users",
    "rate",
    "model",
    "request_count",
    "run",
]
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from([*KEYS, "1s", "5/s", "closed", "-1s"])
)


@given(
    st.sampled_from(PLACES),
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    ),
)
def test_any_value_at_any_path_is_accepted_or_refused_in_one_line(place: str, value: object) -> None:
    error = None
    try:
        load_scenario(SMOKE, [f"{place}={json.dumps(value)}"])
    except ScenarioError as refused:
        error = refused
    assert one_line_or_none(error)


@given(json_values, st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_an_override_is_found_again_where_it_was_put_and_leaves_the_rest(data: object, keys: list[str]) -> None:
    before = {"root": data, "other": [1, 2]}
    override = parse_override(f"--set {'.'.join(['fresh', *keys])}=7".removeprefix("--set "))
    after = apply_override(before, override)
    at = after
    for key in override.path:
        at = at[key]
    assert at == 7
    assert {key: after[key] for key in before} == before == {"root": data, "other": [1, 2]}

"""The charts of tokens: there for a run whose jobs report any, and for no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import altair as alt
import numpy as np
import pyarrow as pa
import pytest

from loadtest.analyze.run_data import RunData
from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.record.sample import CHUNKS
from loadtest.report.charts.tokens import _log_tokens
from loadtest.report.pages.run import report_html
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data
from tests.unit.report.page import Page

OVER_TIME = ["ttft-over-time", "chunk-gap-over-time", "tokens-over-time"]
PANELS = ["tokens-by-jobs", "latency-by-length", "input-tokens-histogram", "output-tokens-histogram"]


def llm_run(made: MadeUpRun) -> RunData:
    """Return the same jobs streamed, with a token each 20 ms from a third of their time on."""
    rng = np.random.default_rng(5)
    samples = made.samples
    intended, finished = (samples.column(name).to_numpy() for name in ("intended_at", "finished_at"))
    first = intended + (finished - intended) / 3
    tokens = np.maximum(1, np.nan_to_num((finished - first) / 0.02)).astype(int)
    columns = {
        "flow": ["stream" if flow == "run" else "openai" for flow in samples.column("flow").to_pylist()],
        "first_content_at": pa.array(first, from_pandas=True),
        "last_content_at": pa.array(finished, from_pandas=True),
        "input_tokens": rng.integers(110, 180, len(samples)).tolist(),
        "output_tokens": tokens.tolist(),
    }
    for name, values in columns.items():
        index = samples.schema.get_field_index(name)
        samples = samples.set_column(
            index, samples.schema.field(index), pa.array(values, samples.schema.field(index).type)
        )
    rows = [
        {"seq": seq, "process": process, "at": at + 0.02 * number, "pieces": 1}
        for seq, process, at, count in zip(
            samples.column("seq").to_pylist(), samples.column("process").to_pylist(), first, tokens, strict=True
        )
        for number in range(count)
        if not np.isnan(at)
    ]
    return run_data(made.run, samples, made.requests, pa.Table.from_pylist(rows, CHUNKS), made.health)


def llm_page(data: RunData) -> tuple[Page, str]:
    source = report_html(data.run, summarize(data), series(data))
    return Page(source), source


@pytest.fixture(scope="module")
def page(make_run: Callable[..., MadeUpRun]) -> Page:
    return llm_page(llm_run(make_run(jobs=400)))[0]


def test_run_with_tokens_has_their_charts_over_time_and_their_section(page: Page) -> None:
    specs = json.loads(page.scripts["specs"])
    names = list(specs)
    assert [name for name in names if name in OVER_TIME] == OVER_TIME
    assert [name for name in names if name in PANELS] == PANELS
    assert len(names) == 17 + len(OVER_TIME) + len(PANELS)
    assert "tokens" in page.ids
    assert all(label.endswith(".") for label in page.labels)


def test_charts_of_tokens_are_valid_and_have_their_data_as_tables(page: Page) -> None:
    specs = json.loads(page.scripts["specs"])
    for name in OVER_TIME + PANELS:
        alt.LayerChart.validate(specs[name])
        assert {"details", "summary", "table"} <= page.charts[f"title-{name}"]


def test_run_without_tokens_has_none_of_them(steady: MadeUpRun) -> None:
    data = run_data(steady.run, steady.samples, steady.requests, health=steady.health)
    page, _ = llm_page(data)
    assert not set(OVER_TIME + PANELS).intersection(json.loads(page.scripts["specs"]))
    assert "tokens" not in page.ids


def test_run_without_chunks_or_first_tokens_has_the_others(make_run: Callable[..., MadeUpRun]) -> None:
    made = make_run(jobs=60)
    samples = made.samples
    index = samples.schema.get_field_index("output_tokens")
    samples = samples.set_column(index, samples.schema.field(index), pa.array([7] * len(samples), pa.int64()))
    page, _ = llm_page(run_data(made.run, samples, made.requests))
    names = set(json.loads(page.scripts["specs"])).intersection(OVER_TIME + PANELS)
    assert names == {"tokens-over-time", "tokens-by-jobs", "latency-by-length", "output-tokens-histogram"}


def test_run_of_the_openai_flow_alone_has_no_empty_charts_of_times_that_it_lacks(
    make_run: Callable[..., MadeUpRun],
) -> None:
    made = make_run(jobs=60)
    samples = made.samples
    for name in ("delay_ms", "execution_ms"):
        index = samples.schema.get_field_index(name)
        samples = samples.set_column(index, samples.schema.field(index), pa.nulls(len(samples), pa.int64()))
    page, _ = llm_page(llm_run(replace(made, samples=samples)))
    specs = json.loads(page.scripts["specs"])
    assert not {"delay-over-time", "execution-over-time", "where-time-goes", "delay-histogram"} & set(specs)
    assert specs["end-to-end-over-time"]
    assert "one job" in page.text


def test_a_single_job_and_no_completed_job_are_drawn_too(make_run: Callable[..., MadeUpRun]) -> None:
    data = llm_run(make_run(jobs=60))
    one = llm_run(replace(make_run(jobs=60), samples=make_run(jobs=60).samples.slice(0, 1)))
    assert "output-tokens-histogram" in llm_page(one)[1]
    index = data.jobs.outcome
    failed = replace(data.table, jobs=replace(data.jobs, outcome=np.full_like(index, 1)))
    page, _ = llm_page(replace(data, table=failed))
    assert not set(PANELS).intersection(json.loads(page.scripts["specs"]))


@pytest.mark.parametrize("domain", [(110, 180), (5, 9), (1, 3000), (1999, 2001)])
def test_an_axis_of_lengths_has_labels_whatever_its_ends_are(domain: tuple[float, float]) -> None:
    values = _log_tokens(domain)["axis"].to_dict()["values"]
    assert len(values) >= 3
    assert values == sorted(values)
    assert all(domain[0] * 0.9 <= value <= domain[1] * 1.1 for value in values)

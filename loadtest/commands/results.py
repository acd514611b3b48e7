"""The results of a run, from its directory alone: judging it, writing its summary and report."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from loadtest.analyze.run_data import RunData
from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize, verdict
from loadtest.analyze.summary import GateResult, Summary
from loadtest.commands.read_run import read_run
from loadtest.gate.inputs import gate_inputs
from loadtest.gate.judge import judge_all
from loadtest.record.atomic_file import readable_json, write_atomic
from loadtest.record.directory import RunDirectory
from loadtest.report.ci.junit import junit
from loadtest.scenario.gates import Gate


def build_results(directory: RunDirectory) -> Summary:
    """Merge the shards, then write `summary.json`, `report.html` and `gate.xml`; repeating it gives the same files.

    Raises RunDirectoryError if the directory holds no run, or a damaged one.
    """
    # Slow to import, and the commands that only read a run draw no charts.
    from loadtest.report.pages.run import report_html

    data = read_run(directory)
    summary = summarize_and_judge(data, data.scenario.gates)
    write_atomic(directory.summary, readable_json(summary))
    write_atomic(directory.report, report_html(data.run, summary, series(data)).encode())
    write_atomic(directory.gate, junit(summary))
    return summary


def summarize_and_judge(data: RunData, gates: Sequence[Gate], compared: Sequence[GateResult] = ()) -> Summary:
    """Return every figure of a run, the results of these gates and comparisons, and the verdict of all together."""
    measured = summarize(data)
    inputs = gate_inputs(data) if gates else None
    results = [*([] if inputs is None else judge_all(gates, inputs)), *compared]
    word, reason = verdict(data.run, measured.validity, results, measured.jobs, measured.left_on_endpoint)
    return msgspec.structs.replace(measured, gates=results, verdict=word, reason=reason)

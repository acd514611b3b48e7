"""From what was recorded to what is read: tables, summary, report; from the run directory alone."""

from __future__ import annotations

import msgspec

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.analyze.summary import Summary
from loadtest.record.directory import RunDirectory
from loadtest.report.html import report_html


def build(directory: RunDirectory) -> Summary:
    """Merge the shards, then write `summary.json` and `report.html`; done again, it gives the same.

    Raises RunDirectoryError where the directory holds no run.
    """
    run = directory.read_run()
    directory.merge()
    samples, requests = directory.table("samples"), directory.table("requests")
    summary = summarize(run, samples, requests, directory.table("chunks"))
    directory.write(directory.summary, msgspec.json.format(msgspec.json.encode(summary), indent=2))
    drawn = series(run, samples, requests, directory.table("health"))
    directory.write(directory.report, report_html(run, summary, drawn).encode())
    return summary

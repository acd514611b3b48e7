"""The content of a page's source, for tests."""

from __future__ import annotations

from html.parser import HTMLParser

from loadtest.analyze.series import series
from loadtest.analyze.summarize import summarize
from loadtest.report.pages.run import report_html
from tests.conftest import MadeUpRun
from tests.unit.analyze.rows import run_data

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """The content of a page: text, figures by section, identifiers, links, requests to the network."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.figures: dict[str, list[str]] = {}
        self.rows: dict[str, list[list[str]]] = {}
        self.labels: list[str] = []
        self.outside: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.charts: dict[str, set[str]] = {}
        self.text = ""
        self.scripts: dict[str | None, str] = {}
        self._open: list[str] = []
        self._section = ""
        self._script: str | None = None
        self.feed(source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self._open.append(tag)
        if "id" in named:
            self.ids.append(named["id"])
        if tag == "section":
            self._section = named.get("aria-labelledby", named.get("aria-label", ""))
        if tag == "data":
            self.figures.setdefault(self._section, []).append(named["value"])
            if "td" in self._open:
                self.rows[self._section][-1].append(named["value"])
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("link", "img", "iframe") or "src" in named or named.get("href", "#")[:1] != "#":
            self.outside.append(tag)
        if named.get("href", "").startswith("#"):
            self.links.append(named["href"][1:])
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))
        if tag == "figure":
            self.charts[named["aria-labelledby"]] = set()
        if "figure" in self._open:
            self.charts[list(self.charts)[-1]] |= {tag, *named}
        if named.get("role") == "img":
            self.labels.append(named.get("aria-label", ""))
        if tag == "script":
            self._script = named.get("id")
            self.scripts[self._script] = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[self._script] += data
        elif self._open and self._open[-1] != "style":
            self.text += data


def page_of(made: MadeUpRun) -> Page:
    summary = summarize(run_data(made.run, made.samples, made.requests, health=made.health))
    return Page(
        report_html(made.run, summary, series(run_data(made.run, made.samples, made.requests, health=made.health)))
    )

"""The parts of every page: templates, formats, and the charts with their library inside the file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from inspect import getmembers, isfunction
from pathlib import Path

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loadtest.report import formatting, summary_text
from loadtest.report.charts.base import Chart
from loadtest.report.pages.glossary import OUTCOMES, Glossary

SCRIPT = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_bundle() -> str:
    """Return a script that sets `window.vegaEmbed`, with Vega and Vega-Lite; cached on disk if that is possible."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cached = home / "loadtest" / f"vega-{version('vl-convert-python')}.js"
    try:
        return cached.read_text(encoding="utf-8")
    except OSError:
        bundle = vl_convert.javascript_bundle(SCRIPT)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        partial = cached.with_suffix(f".{os.getpid()}")
        partial.write_text(bundle, encoding="utf-8")
        partial.replace(cached)
    except OSError:
        return bundle
    return bundle


def page_html(template: str, glossary: Glossary, charts: Sequence[Chart], **variables: object) -> str:
    """Return a page with these variables, its charts and the definitions of its terms."""
    links = {"glossary": glossary, "term": glossary.link, "outcome_label": glossary.outcome}
    return _environment().get_template(template).render(variables | links, charts=charts)


@cache
def _environment() -> Environment:
    """Return the templates' environment: formats as filters, and no undefined name; it compiles a template once."""
    environment = Environment(
        loader=PackageLoader("loadtest.report"),
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= dict(getmembers(summary_text, isfunction))
    environment.globals |= {
        "outcome_meanings": OUTCOMES,
        "percentiles": summary_text.PERCENTILES,
        "quantities": summary_text.QUANTITIES,
        "charted": summary_text.CHARTED,
        "min_sizes": summary_text.min_sample_sizes(),
        "specs_in_html": _specs_in_html,
        "vega_in_html": _vega_in_html,
    }
    environment.filters |= dict(getmembers(formatting, isfunction))
    return environment


def _finalized(value: object) -> object:
    """Return a variable of a template; a text of others without the characters that HTML forbids."""
    return formatting.printable(value) if type(value) is str else value


def _specs_in_html(charts: Sequence[Chart]) -> Markup:
    """Return the charts' specifications as JSON in which `<` is escaped, so that no text can end the script."""
    text = json.dumps({chart.name: chart.spec for chart in charts}, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _vega_in_html() -> Markup:
    """Return the charting library, in which no text can end the script."""
    return Markup(vega_bundle().replace("</script", "<\\/script"))

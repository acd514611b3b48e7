"""What every page of ours is made with: templates, figures in words, charts and their library inside the file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loadtest.report import formatting
from loadtest.report.charts.base import Chart
from loadtest.report.pages.glossary import Glossary

SCRIPT = "window.vegaEmbed = vegaEmbed;"


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed, which stands in `window.vegaEmbed`; from the cache where it can be kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "loadtest" / f"vega-{version('vl-convert-python')}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except OSError:
        bundled = vl_convert.javascript_bundle(SCRIPT)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        beside = kept.with_suffix(f".{os.getpid()}")
        beside.write_text(bundled, encoding="utf-8")
        beside.replace(kept)
    except OSError:
        return bundled
    return bundled


def page_html(template: str, terms: Glossary, charts: Sequence[Chart], **shown: object) -> str:
    """A page that shows this, draws its charts, and explains its terms."""
    return _environment(terms).get_template(template).render(shown, terms=terms, charts=charts)


def _environment(terms: Glossary) -> Environment:
    """The templates, which know how figures are written, link terms, and refuse a name that nobody gave them."""
    made = Environment(
        loader=PackageLoader("loadtest.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "term": terms.link,
        "specs_in_html": _specs_in_html,
        "charting_in_html": _charting_in_html,
    }
    for filter_ in (
        formatting.count,
        formatting.dollars,
        formatting.milliseconds,
        formatting.timestamp,
        formatting.number,
        formatting.rate,
        formatting.share,
        formatting.signed_share,
        formatting.duration,
    ):
        made.filters[filter_.__name__] = filter_
    return made


def _specs_in_html(charts: Sequence[Chart]) -> Markup:
    """The charts' specifications as JSON that no text inside can end early: `<` is written as an escape."""
    specs = {chart.name: {"spec": chart.spec, "over_time": chart.over_time} for chart in charts}
    text = json.dumps(specs, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _charting_in_html() -> Markup:
    """The charting library, which no text inside can end early."""
    return Markup(vega_bundle().replace("</script", "<\\/script"))

"""The charting library as one script; putting it together takes seconds, so that it is kept in the user's cache."""

from __future__ import annotations

import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

import vl_convert

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

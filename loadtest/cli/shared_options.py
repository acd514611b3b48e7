"""The arguments and options that several commands share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

optional = partial(typer.Option, show_default=False)
"""An option without a default."""
number = partial(typer.Option, metavar="N")
file = partial(optional, metavar="FILE")
folder = partial(optional, metavar="DIR")

ScenarioFile = Annotated[
    Path,
    typer.Argument(metavar="SCENARIO", help="A YAML file, or a name of `loadtest scenarios`.", show_default=False),
]
ScenarioOrSmoke = Annotated[
    Path | None,
    typer.Argument(
        metavar="SCENARIO",
        help="A YAML file, or a name of `loadtest scenarios`; without it, smoke.",
        show_default=False,
    ),
]
RunDirectoryPath = Annotated[Path, typer.Argument(metavar="DIR", help="A run directory.", show_default=False)]
Changes = Annotated[
    list[str] | None,
    optional("--set", metavar="KEY=VALUE", help="Change one value of the scenario; KEY is a dotted path."),
]
Seed = Annotated[int | None, optional(metavar="N", help="Draw the schedule from this seed.")]
TargetUrl = Annotated[
    str | None, optional(metavar="URL", help="Send to this endpoint instead of the scenario's target.")
]
OpenPage = Annotated[bool, typer.Option("--open", help="Show the page in a browser.")]
Tolerance = Annotated[str, typer.Option(metavar="SHARE", help="How much worse is accepted.")]
MinDifference = Annotated[
    str, typer.Option(metavar="TIME", help="The smallest difference in time that can be worse.")
]


def given_only(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not None, so that a request keeps its own default for the others."""
    return {name: value for name, value in parameters.items() if value is not None}

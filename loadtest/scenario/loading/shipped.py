"""The scenarios that come with loadtest, by name: in a wheel inside the package, in a checkout at its top."""

from __future__ import annotations

from pathlib import Path

from loadtest.errors import UsageError

_PACKAGE = Path(__file__).parents[2]
SMOKE = "smoke"
"""The scenario that `loadtest run` runs without another: it takes 12 s and needs nothing."""


def shipped_scenarios() -> dict[str, Path]:
    """Return the files of the scenarios by their names."""
    inside = _PACKAGE / "scenarios"
    folder = inside if inside.is_dir() else _PACKAGE.parent / "scenarios"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def scenario_file(named: Path) -> Path:
    """Return a scenario's file: this path if it is a file, else the shipped scenario of this name."""
    if named.name == str(named) and not named.suffix and not named.is_file():
        return shipped_scenarios().get(str(named), named)
    return named


def shipped_scenario(name: str) -> Path:
    """Return the file of a shipped scenario. Raises UsageError if there is none of this name."""
    found = shipped_scenarios()
    if name not in found:
        raise UsageError(f'"{name}" is not a scenario of loadtest; write one of: {", ".join(found)}')
    return found[name]

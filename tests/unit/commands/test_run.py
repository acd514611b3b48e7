"""The refusals of `loadtest run` before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.commands.run import RunRequest, run, scenario_of
from loadtest.errors import ExitCode, RunDirectoryError

SMOKE = Path(__file__).parents[3] / "scenarios" / "smoke.yaml"


@pytest.mark.parametrize("out", ["taken", "taken/inside", "x" * 300])
def test_a_directory_that_cannot_be_made_is_one_line_of_usage_error(tmp_path: Path, out: str) -> None:
    (tmp_path / "taken").write_text("")
    request = RunRequest(SMOKE, out=tmp_path / out)
    with pytest.raises(RunDirectoryError, match=r"^[^\n]*; name another with --out$") as refused:
        run(request, scenario_of(request))
    assert refused.value.exit_code is ExitCode.USAGE
    assert [each.name for each in tmp_path.iterdir()] == ["taken"]

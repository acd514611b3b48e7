"""`loadtest export`: the data frames of a run as CSV files or as one Excel workbook."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from loadtest.errors import RecordingError, UsageError, reason_and_remedy
from loadtest.frames.columns import FRAMES
from loadtest.frames.run import read
from loadtest.record.atomic_file import atomic_replace

SHEET_ROWS = 2**20 - 1
"""The rows of a sheet of Excel, without its heading."""
WORKBOOK = "run.xlsx"


@dataclass(frozen=True)
class ExportRequest:
    """The options of `loadtest export`."""

    run: Path
    csv: bool = False
    xlsx: bool = False
    out: Path | None = None


def export(request: ExportRequest) -> list[Path]:
    """Write the files into the folder of the request, or into `export` in the run directory; return their paths.

    Raises UsageError if no format is chosen, a sheet cannot hold a table or a file cannot be written, and
    RunDirectoryError for a bad run.
    """
    if not (request.csv or request.xlsx):
        raise UsageError("no format is named; add --csv, --xlsx, or both")
    if request.xlsx and importlib.util.find_spec("xlsxwriter") is None:
        raise UsageError("--xlsx: needs the package xlsxwriter; install it with: pip install 'loadtest[xlsx]'")
    run = read(request.run)
    folder = request.out or run.path / "export"
    frames: dict[str, pd.DataFrame] = {name: getattr(run, name) for name in FRAMES}
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    written = [_write_csv(folder / f"{name}.csv", table) for name, table in frames.items()] if request.csv else []
    return [*written, _write_workbook(folder / WORKBOOK, frames)] if request.xlsx else written


def _write_csv(path: Path, table: pd.DataFrame) -> Path:
    """Write a table with times like 2026-11-27 06:26:01.535086Z; Arrow does it ten times as fast as pandas."""
    rows = pa.Table.from_pandas(table, preserve_index=False)
    plain = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in rows.schema]
    with _writing(path), atomic_replace(path) as partial:
        pa_csv.write_csv(rows.cast(pa.schema(plain)), partial)
    return path


def _write_workbook(path: Path, frames: dict[str, pd.DataFrame]) -> Path:
    """Write a sheet per table; Excel knows no time zones, so times are those of UTC without their zone."""
    for name, table in frames.items():
        if len(table) > SHEET_ROWS:
            raise UsageError(f"--xlsx: {len(table):,} rows of {name}; a sheet holds {SHEET_ROWS:,}, so use --csv")
    # A text of the endpoint is never a formula or a link, whatever it begins with.
    options = {"strings_to_formulas": False, "strings_to_urls": False}
    with (
        _writing(path),
        atomic_replace(path) as partial,
        pd.ExcelWriter(
            partial,
            engine="xlsxwriter",
            datetime_format="yyyy-mm-dd hh:mm:ss.000",
            engine_kwargs={"options": options},
        ) as writer,
    ):
        for name, table in frames.items():
            _without_zones(table).to_excel(writer, sheet_name=name, index=False, freeze_panes=(1, 0))
    return path


def _without_zones(table: pd.DataFrame) -> pd.DataFrame:
    zoned = table.select_dtypes("datetimetz").columns
    return table.assign(**{name: table[name].dt.tz_localize(None) for name in zoned})


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise UsageError with a remedy if a path cannot be written."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {reason_and_remedy(error)}") from None
    except RecordingError as error:
        raise UsageError(str(error)) from None

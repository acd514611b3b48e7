"""Columns of Arrow tables and numpy arrays as a data frame of documented dtypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from loadtest.frames.columns import CATEGORY, NUMBER, TEXT, TIME, Column

Values = Any
"""A column: a `pyarrow.ChunkedArray`, a numpy array with NaN for missing, or a list of Python values."""
_MICROSECONDS = 1e6
_MISSING = np.iinfo(np.int64).min
"""The number of a missing time."""


def frame(columns: Sequence[Column], values: Mapping[str, Values]) -> pd.DataFrame:
    """Return a frame with these columns in this order."""
    made: dict[str, Any] = {column.name: _series(column, values[column.name]) for column in columns}
    return pd.DataFrame(made, copy=False)


def times(seconds: Values) -> pd.arrays.DatetimeArray:
    """Return epoch seconds as times in UTC, NaN as a missing one."""
    microseconds = np.asarray(seconds, np.float64) * _MICROSECONDS
    # In place, and without a copy at the end: of a million jobs, each more array costs as much as reading one.
    np.rint(microseconds, out=microseconds)
    with np.errstate(invalid="ignore"):
        found: Any = microseconds.astype(np.int64)
    found[np.isnan(microseconds)] = _MISSING
    made: pd.arrays.DatetimeArray = pd.array(found, dtype=TIME, copy=False)
    return made


def categorical(codes: NDArray[np.integer], categories: Sequence[str]) -> pd.Categorical:
    """Return the category of each index, none for −1."""
    found: pd.Categorical = pd.Categorical.from_codes(codes, pd.Index(list(categories), dtype="str"))
    return found


def _series(column: Column, values: Values) -> Any:
    arrow = values if isinstance(values, pa.ChunkedArray) else None
    if column.dtype == TIME:
        return times(_floats(arrow) if arrow is not None else values)
    if column.dtype == CATEGORY:
        return _categorical(column, values)
    if column.dtype == TEXT:
        return pd.array(_text(arrow) if arrow is not None else values, dtype="str")
    # Arrow's own arrays cannot be written to, so a frame gets copies of them.
    if column.dtype == NUMBER:
        return _floats(arrow).copy() if arrow is not None else np.asarray(values, np.float64)
    if arrow is None:
        return pd.array(values, dtype=column.dtype)
    whole = pc.fill_null(arrow, 0).to_numpy().astype(column.dtype.lower())
    if column.dtype[0].islower():
        return whole
    missing = pc.is_null(arrow).to_numpy().copy() if arrow.null_count else np.zeros(len(arrow), dtype=bool)
    return pd.arrays.IntegerArray(whole, missing)


def _floats(values: pa.ChunkedArray) -> Any:
    return pc.cast(values, pa.float64()).to_numpy()


def _text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.cast(values, pa.large_string())


def _categorical(column: Column, values: Values) -> pd.Categorical:
    """Return categories in their documented order, or in that of their names; None for any other value."""
    if isinstance(values, pd.Categorical):
        return values
    if not isinstance(values, pa.ChunkedArray):
        return pd.Categorical(values, categories=pd.Index(list(column.categories or ()), dtype="str"))
    encoded = values if pa.types.is_dictionary(values.type) else pc.dictionary_encode(values)
    chunks = encoded.unify_dictionaries().chunks
    found: list[str | None] = chunks[0].dictionary.to_pylist() if chunks else []
    categories = list(column.categories or sorted(filter(None, found)))
    # The last number stands for null.
    numbers = np.array([*(categories.index(name) if name in categories else -1 for name in found), -1], np.int32)
    codes = [numbers[pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False)] for chunk in chunks]
    return categorical(np.concatenate([np.empty(0, np.int32), *codes]), categories)

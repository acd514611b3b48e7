"""pyarrow in our own processes: it imports no pandas by itself, and still makes data frames."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from loadtest.record.arrow import ignore_pandas
ignore_pandas()
import pyarrow as pa
pa.array([1.0, None]).to_numpy(zero_copy_only=False)
ignore_pandas()
assert "pandas" not in sys.modules
frame = pa.table({"a": [1, 2]}).to_pandas()
assert frame.a.tolist() == [1, 2]
import pandas as pd
assert pa.array(pd.Series([1.0, None])).null_count == 1
ignore_pandas()
"""


def test_pandas_is_imported_for_data_frames_alone() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")

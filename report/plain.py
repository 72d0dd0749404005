"""Plain values for files: rounded numbers, no NaN, dataclasses as dicts."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any


def rounded(value: float, digits: int = 6) -> float | None:
    """The value with `digits` significant digits, or None where it is not finite: what a file may hold of a float."""
    value = float(value)
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def plain(value: Any) -> Any:
    """The value as dicts, lists, strings, ints and rounded floats, ready for JSON."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "item"):  # numpy scalars
        return plain(value.item())
    return rounded(value)


def csv_text(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> str:
    """CSV with a header and `columns` in order; None is an empty field."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else rounded(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return buffer.getvalue()

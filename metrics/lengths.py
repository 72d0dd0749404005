"""Which two LSE-C may be compared as far as the clips' lengths go: it depends on how many windows it is a mean over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from metrics.protocols import is_padded

OTHER_LENGTH = "other_length"
TOLERANCE = 0.1
"""Windows by which two clips may differ, of the longer one's, and still be of one length without zero padding. Where an expert
finds no match LSE-C falls as one over the root of the windows, so 10 % fewer raise it by 5 %; where it finds one, by 1 %."""


def same_length(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> bool:
    """Whether two rows' values of a metric may be compared as far as their lengths go: LSE-C needs `lengths_match`."""
    if metric != "lse_c":
        return True
    one, other = (np.nan if row.get("n_windows") is None else row["n_windows"] for row in (a, b))
    return bool(lengths_match(one, other, is_padded(a.get("protocol"))))


def lengths_match(one: Any, other: Any, padded: Any) -> Any:
    """Whether LSE-C over so many windows may be compared with LSE-C over so many others: bool, for floats or arrays of them. With
    zero padding the numbers must be equal, else within TOLERANCE. nan: unknown, which matches unknown only."""
    limit = np.where(padded, 0.0, TOLERANCE) * np.maximum(one, other)
    return (np.abs(np.subtract(one, other)) <= limit) | (np.isnan(one) & np.isnan(other))

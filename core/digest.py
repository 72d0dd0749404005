"""One way to hash things, so that equal content has equal digests everywhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest_of(value: Any) -> str:
    """sha256 hex of plain values (JSON, keys sorted) or of bytes."""
    return hashlib.sha256(value if isinstance(value, bytes) else _JSON.encode(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """sha256 hex of a file's content, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, tuple | set | frozenset):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    raise TypeError(f"cannot hash a {type(value).__name__}")


_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, check_circular=False, default=_plain)

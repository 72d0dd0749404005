"""Rows of tables that are larger than memory: what is small of them here, and cells that say where their bytes lie.

A stage's process plans with light rows and hands them to its workers; each mapper fills its own item from the same folder.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.shards import GROUP_BYTES, shard_paths

if TYPE_CHECKING:
    import pyarrow as pa

READ_ROWS = 32  # of a group that `light_rows` makes Python values of at once
KEPT_BYTES = 3 * GROUP_BYTES  # of columns that a process keeps for its next item
LATE_S = 10.0  # network file systems show a new folder late


class Cell(str):
    """Bytes that stay in their shard. As text it is their sha256, which is what core.digest makes of bytes: a row has the same
    digest with cells as with bytes. It is small, so a process may hold those of a whole table and hand them to workers; `read`
    gives the bytes to whoever works in the same folder."""

    __slots__ = ("path", "group", "row", "column")

    def __new__(cls, sha256: str, path: str, group: int, row: int, column: str) -> Cell:
        """path: of the shard; row: in its group."""
        cell = super().__new__(cls, sha256)
        cell.path, cell.group, cell.row, cell.column = path, group, row, column
        return cell

    def __reduce__(self):
        return Cell, (str(self), self.path, self.group, self.row, self.column)

    def read(self) -> bytes:
        """The bytes. RuntimeError where others lie there now, also after LATE_S."""
        import pyarrow as pa

        end = time.monotonic() + LATE_S
        while True:
            cause: Exception | None = None
            try:
                data = _column(self.path, self.group, self.column)[self.row].as_py()
                if hashlib.sha256(data).hexdigest() == self:
                    return data
            except (OSError, IndexError, KeyError, TypeError, pa.ArrowException) as error:
                cause = error  # the file is gone, shorter, half visible
            _COLUMNS.pop((self.path, self.group, self.column), None)
            if time.monotonic() > end:
                raise RuntimeError(f"{self.path}: row {self.row} of group {self.group}, {self.column}, is not what it was when "
                                   "this run began; another process has written this table since, or this machine does not see "
                                   "it. Run the same command again") from cause
            time.sleep(LATE_S / 20)


_COLUMNS: dict[tuple[str, int, str], pa.ChunkedArray] = {}  # read last, the newest at the end


def _column(path: str, group: int, name: str) -> pa.ChunkedArray:
    """One column of one group of a shard. Items come sorted by where their cells lie (`places`), so a group is read once or
    seldom more."""
    import pyarrow.parquet as pq

    key = path, group, name
    if key not in _COLUMNS:
        with pq.ParquetFile(path) as file:
            found = file.read_row_group(group, columns=[name], use_threads=False)[name]
        held = found.nbytes + sum(c.nbytes for c in _COLUMNS.values())
        while _COLUMNS and held > KEPT_BYTES:
            held -= _COLUMNS.pop(next(iter(_COLUMNS))).nbytes
    else:
        found = _COLUMNS.pop(key)
    _COLUMNS[key] = found
    return found


def light_rows(folder: Path, table: str, columns: list[str] | None = None,
               where: tuple[str, Container[Any]] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet table as core.shards.read_rows gives them, with a Cell for every value of bytes: one group of a shard
    at a time is in memory. where: (column, the values of it that are wanted). Errors as there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in shard_paths(folder, table):
        try:
            with pq.ParquetFile(path, buffer_size=1 << 20) as file:  # what is compressed comes piece by piece
                for group in range(file.num_row_groups):
                    at = 0
                    for batch in file.iter_batches(READ_ROWS, row_groups=[group], columns=columns):
                        for row in batch.to_pylist():
                            if where is None or row[where[0]] in where[1]:
                                yield {k: v if not isinstance(v, bytes) else Cell(
                                    hashlib.sha256(v).hexdigest(), str(path), group, at, k) for k, v in row.items()}
                            at += 1
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: not a readable shard ({error}); delete its folder and run the stage again") from error


def filled(value: Any) -> Any:
    """A payload with the bytes of its cells, however deep they lie in dicts and lists; anything else as it is."""
    if isinstance(value, Cell):
        return value.read()
    if isinstance(value, dict):
        return {k: filled(v) for k, v in value.items()}
    return [filled(v) for v in value] if isinstance(value, list) else value


def places(value: Any) -> tuple[tuple[str, int], ...]:
    """Where the cells of a payload lie, (shard, group), each once: items sorted by it find theirs in what was read last."""
    found: dict[tuple[str, int], None] = {}

    def look(at: Any) -> None:
        if isinstance(at, Cell):
            found[at.path, at.group] = None
        for part in at.values() if isinstance(at, dict) else at if isinstance(at, list) else ():
            look(part)

    look(value)
    return tuple(found)

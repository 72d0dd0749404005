"""What the last finished run of a stage instance left: its items by columns, for there may be a million, and their rows."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core import shards
from core.records import schema

if TYPE_CHECKING:
    import pyarrow as pa


class LastRun:
    """The items of a finished run in their order, which is by shard, then by id. `found` is False, and there are none, where it
    was under another fingerprint or there is no such run. `counts`: int (n, tables), how many rows each item has."""

    def __init__(self, out: Path, seal: str, names: tuple[str, ...]):
        """seal: of the fingerprint; names: of the tables."""
        self.out, self.names, self.found = out, names, False
        self._take(schema("items").empty_table())
        try:
            if shards.read_json(out / "fingerprint.json")["seal"] == seal:
                self._take(shards.read_shard(out / "items.parquet"))
                self.found = True
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError):
            pass  # all is made anew

    def _take(self, data: pa.Table) -> None:
        import pyarrow.compute as pc

        counts = pc.list_flatten(data["counts"]).to_numpy().reshape(data.num_rows, len(self.names))
        self._ids, self._digests, self._status = (data[name].combine_chunks() for name in ("item_id", "digest", "status"))
        self.counts = counts

    def places(self, given: pa.Table) -> np.ndarray:
        """int (n,): the place here of every item given (item_id, digest) that has the same digest, -1 of the others."""
        import pyarrow.compute as pc

        at = pc.index_in(given["item_id"], value_set=self._ids).combine_chunks()
        same = pc.equal(self._digests.take(at), given["digest"].combine_chunks())
        return pc.fill_null(pc.if_else(same, at, -1), -1).to_numpy()

    def status(self, at: np.ndarray) -> list[str | None]:
        """What became of the items at these places; None for -1."""
        import pyarrow as pa

        return self._status.take(pa.array(at, mask=at < 0)).to_numpy(zero_copy_only=False).tolist()

    def bounds(self, n_shards: int) -> list[int]:
        """Where the shards begin, n_shards of them, and where the last one ends."""
        def shard(place: int) -> int:
            return shards.shard_of(self._ids[place].as_py(), n_shards)

        return [bisect_left(range(len(self._ids)), k, key=shard) for k in range(n_shards + 1)]


class LastRows:
    """The rows of one shard of one table of a finished run, by item; read where they are asked for, in rising order."""

    def __init__(self, run: LastRun, table: str, shard: int, start: int, stop: int):
        """start, stop: the shard's items."""
        self.path = shards.shard_path(run.out, table, shard)
        self._counts, self._start = run.counts[start:stop, run.names.index(table)], start
        self._first: list[int] | None = None  # most shards are never asked
        self._rows: shards.Rows | None = None

    def first(self, at: int) -> int:
        """The first row of the item at this place."""
        if self._first is None:
            self._first = (np.cumsum(self._counts) - self._counts).tolist()
        return self._first[at - self._start]

    def slice(self, start: int, n: int) -> pa.Table:
        """Rows start .. start + n."""
        if self._rows is None:
            self._rows = shards.Rows(self.path)
        return self._rows.slice(start, n)

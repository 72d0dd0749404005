"""Tables on disk: Parquet shards by hash of the item, an Arrow file for image frames, and small JSON, all written whole or not at
all."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from core.records import schema

if TYPE_CHECKING:
    import pyarrow as pa

# Image frames are read at random, so their table is an uncompressed Arrow file that can be memory-mapped.
ARROW_TABLES = {"views"}
GROUP_ROWS, GROUP_BYTES = 1024, 64 << 20


def shard_of(item_id: str, n_shards: int) -> int:
    """The shard an item belongs to, from its id alone, so that adding an item moves no other."""
    return int.from_bytes(hashlib.blake2b(item_id.encode(), digest_size=8).digest(), "big") % n_shards


def shard_path(folder: Path, table: str, shard: int | str) -> Path:
    """Where one shard of one table lies. A shard has a number, or the name of the instance whose rows it holds."""
    name = shard if isinstance(shard, str) else f"{shard:03d}"
    return Path(folder) / table / f"shard-{name}.{'arrow' if table in ARROW_TABLES else 'parquet'}"


def atomic_write(path: Path, write) -> None:
    """Calls write(temp_path), then puts the file in place: readers see the old file or the whole new one, also after a crash."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    try:
        write(Path(temp))
        with open(temp, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(temp, 0o644)
        os.replace(temp, path)
    except BaseException as error:
        Path(temp).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path.parent)  # a failed write does not say where; core.errors asks for it
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def without_pandas() -> None:
    """Nothing; keeps pyarrow from importing pandas, half a second in every process of a stage, when it first makes a table of Python
    values: it wants to know whether they are pandas', and here they never are. It asks once, so it is shown a pandas that is too
    old for it. For processes of our own only: Table.to_pandas() fails in them. Where pandas is imported already, nothing is done."""
    import pyarrow as pa

    if "pandas" not in sys.modules:
        sys.modules["pandas"] = stand_in = ModuleType("pandas")
        stand_in.__version__ = "0.0"
        try:
            with warnings.catch_warnings(action="ignore"):
                pa.array([0])
        finally:
            del sys.modules["pandas"]


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    atomic_write(path, lambda temp: temp.write_bytes(data))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON with sorted keys, atomically. Floats must be finite: a missing number is null, never NaN."""
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file. ValueError names the file when it is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: damaged JSON ({error}); delete it and run the stage again") from error


def write_table(path: Path, rows: list[dict[str, Any]] | pa.Table | Iterable[pa.Table], table: str) -> None:
    """Writes rows as one shard with the schema of `table`: the same rows give the same bytes, in one table or in many.

    Of many tables, GROUP_ROWS rows or GROUP_BYTES are in memory at once.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if isinstance(rows, list):
        rows = pa.Table.from_pylist(rows, schema=schema(table))
    parts = [rows] if isinstance(rows, pa.Table) else rows
    fitting = (part.select(schema(table).names).cast(schema(table)) for part in parts)

    def write(temp: Path) -> None:
        if path.suffix == ".arrow":
            # One batch per row: a reader maps just the clip it wants.
            with pa.OSFile(str(temp), "wb") as sink, pa.ipc.new_file(sink, schema(table)) as writer:
                for part in fitting:
                    for i in range(part.num_rows):
                        writer.write_table(part.slice(i, 1))
        else:
            with pq.ParquetWriter(temp, schema(table), compression="zstd", store_schema=True, write_statistics=False) as writer:
                n = 0
                for n, group in enumerate(_groups(fitting), start=1):  # noqa: B007
                    writer.write_table(group.combine_chunks(), row_group_size=GROUP_ROWS)
                if not n:
                    writer.write_table(schema(table).empty_table(), row_group_size=GROUP_ROWS)

    path = Path(path)
    atomic_write(path, write)


def _groups(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of some tables in groups of GROUP_ROWS, or of fewer as soon as they hold GROUP_BYTES, however they come."""
    import pyarrow as pa

    held: list[pa.Table] = []
    n_rows = n_bytes = 0
    for part in parts:
        sizes, at = _row_bytes(part), 0
        while at < part.num_rows:
            total = n_bytes + np.cumsum(sizes[at:at + GROUP_ROWS - n_rows])
            take = min(int(np.searchsorted(total, GROUP_BYTES)) + 1, len(total))
            held.append(part.slice(at, take))
            n_rows, n_bytes, at = n_rows + take, int(total[take - 1]), at + take
            if n_rows == GROUP_ROWS or n_bytes >= GROUP_BYTES:
                yield pa.concat_tables(held)
                held, n_rows, n_bytes = [], 0, 0
    if held:
        yield pa.concat_tables(held)


def _row_bytes(data: pa.Table) -> np.ndarray:
    """Bytes that each row holds in columns of bytes. Of values alone, unlike Table.nbytes: equal rows must be cut at equal
    places."""
    import pyarrow as pa
    import pyarrow.compute as pc

    total = np.zeros(data.num_rows, np.int64)
    for column in data.columns:
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return total


def read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    """One shard as an Arrow table. ValueError names the file when it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if Path(path).suffix == ".arrow":
            with pa.memory_map(str(path)) as source:
                data = pa.ipc.open_file(source).read_all()
            return data.select(columns) if columns else data
        return pq.ParquetFile(path).read(columns=columns)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a readable shard ({error}); delete its folder and run the stage again") from error


class Rows:
    """Rows of one shard by their place, read where they are asked for, in rising order: the last two groups are kept."""

    def __init__(self, path: Path):
        import pyarrow.parquet as pq

        self._whole = read_shard(path) if Path(path).suffix == ".arrow" else None  # mapped, not read
        self._kept: dict[int, pa.Table] = {}
        if self._whole is None:
            self._file = pq.ParquetFile(path)
            sizes = [self._file.metadata.row_group(k).num_rows for k in range(self._file.num_row_groups)]
            self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)

    def slice(self, start: int, n: int) -> pa.Table:
        """Rows start .. start + n."""
        import pyarrow as pa

        if self._whole is not None:
            return self._whole.slice(start, n)
        first, last = np.searchsorted(self._starts, [start, max(start, start + n - 1)], side="right") - 1
        groups = [self._group(k) for k in range(int(first), int(last) + 1)]
        return pa.concat_tables(groups).slice(start - int(self._starts[first]), n)

    def _group(self, k: int) -> pa.Table:
        if k not in self._kept:
            self._kept = {j: table for j, table in self._kept.items() if j == k - 1} | {k: self._file.read_row_group(k)}
        return self._kept[k]


def read_table(folder: Path, table: str, columns: list[str] | None = None) -> pa.Table:
    """All shards of one table of a stage's output folder, in shard order. FileNotFoundError says which stage to run."""
    import pyarrow as pa

    return pa.concat_tables([read_shard(path, columns) for path in shard_paths(folder, table)])


def read_rows(folder: Path, table: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of one table as dicts, in shard order. Large tables of bytes: core/cells.py."""
    return [row for path in shard_paths(folder, table) for row in read_shard(path, columns).to_pylist()]


def shard_paths(folder: Path, table: str) -> list[Path]:
    """The shards of one table of a stage's output folder, sorted. FileNotFoundError says which stage to run."""
    paths = sorted((Path(folder) / table).glob("shard-*"))
    if not paths:
        raise FileNotFoundError(f"{folder}: no table {table!r} here; build it first (`babelface plan` says what is missing)")
    return paths


def pack(array: np.ndarray) -> bytes:
    """The bytes of an array, little-endian, C order: the columns' comments in core.records give dtype and shape."""
    array = np.ascontiguousarray(array)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def unpack(data: bytes, dtype: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The array that `pack` made bytes of (read-only)."""
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).reshape(shape)


class ViewStore:
    """Random access to the stored views of one crop folder: only the frames asked for are decoded."""

    def __init__(self, folder: Path):
        import pyarrow as pa

        self._rows: dict[tuple[str, str], tuple[Any, int]] = {}
        paths = sorted((Path(folder) / "views").glob("shard-*.arrow"))
        if not paths:
            raise FileNotFoundError(f"{folder}: no views here; run the crop stage first")
        for path in paths:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
            for i in range(reader.num_record_batches):
                batch = reader.get_batch(i)
                self._rows[batch["track_id"][0].as_py(), batch["view"][0].as_py()] = (batch, 0)

    def ids(self, view: str) -> list[str]:
        """The track ids that have `view`, sorted."""
        return sorted(track for track, name in self._rows if name == view)

    def row(self, track_id: str, view: str) -> dict[str, Any]:
        """height, width and n_frames of one stored view."""
        batch, i = self._batch(track_id, view)
        names = ("track_id", "clip_id", "language", "cluster", "view", "height", "width", "n_frames")
        return {name: batch[name][i].as_py() for name in names}

    def frames(self, track_id: str, view: str, start: int, stop: int) -> np.ndarray:
        """uint8 (stop - start, H, W, 3) RGB. IndexError outside the track."""
        from core.media import decode_jpeg

        batch, i = self._batch(track_id, view)
        cells = batch["frames"][i].values
        if not 0 <= start < stop <= len(cells):
            raise IndexError(f"{track_id} {view}: frames {start}:{stop} of {len(cells)}")
        return np.stack([decode_jpeg(memoryview(cells[f].as_buffer())) for f in range(start, stop)])

    def jpegs(self, track_id: str, view: str) -> list[bytes]:
        """The JPEG file of every frame, as stored."""
        batch, i = self._batch(track_id, view)
        return [cell.as_buffer().to_pybytes() for cell in batch["frames"][i].values]

    def transforms(self, track_id: str, view: str) -> np.ndarray:
        """float32 (T, 2, 3): source pixels to view pixels."""
        batch, i = self._batch(track_id, view)
        return unpack(batch["transforms"][i].as_py(), np.float32, (-1, 2, 3))

    def _batch(self, track_id: str, view: str) -> tuple[Any, int]:
        try:
            return self._rows[track_id, view]
        except KeyError:
            raise KeyError(f"no view {view!r} of track {track_id!r} is stored here; is it in crop.store?") from None


def grouped(rows: Iterable[dict[str, Any]], key: str) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Rows by the value of one column, values sorted, rows in their order."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    yield from sorted(found.items())

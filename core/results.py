"""One item's result between the process that worked on it and the shard that it ends in: a small Arrow file, or its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import shards
from core.records import schema


def write_result(path: Path, tables: dict[str, list[dict[str, Any]]], verdict: tuple[str, str] | None) -> None:
    """One item's result as one file, written whole or not at all."""
    shards.write_bytes(path, pack_result(tables, verdict))


def pack_result(tables: dict[str, list[dict[str, Any]]], verdict: tuple[str, str] | None) -> bytes:
    """One item's result as one Arrow file: its tables, or the reason why it was rejected."""
    import pyarrow as pa

    names, blobs = [], []
    for name, rows in sorted(tables.items()):
        data = pa.Table.from_pylist(rows, schema=schema(name))
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, data.schema) as writer:
            writer.write_table(data)
        names.append(name)
        blobs.append(memoryview(sink.getvalue()))
    if verdict is not None:
        names += ["!reason", "!detail"]
        blobs += [v.encode() for v in verdict]
    whole = pa.table({"name": pa.array(names, pa.string()), "blob": pa.array(blobs, pa.large_binary())})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue().to_pybytes()


def read_result(path: Path) -> tuple[dict[str, Any], tuple[str, str] | None]:
    """(tables, or why it was rejected) of a file of `write_result`. The tables lie in the file, which is mapped, not read."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        whole = pa.ipc.open_file(source).read_all()
        found = {name: blob.as_buffer() for name, blob in zip(whole["name"].to_pylist(), whole["blob"], strict=True)}
        verdict = (found.pop("!reason").to_pybytes().decode(),
                   found.pop("!detail").to_pybytes().decode()) if "!reason" in found else None
        return {name: pa.ipc.open_stream(blob).read_all() for name, blob in found.items()}, verdict

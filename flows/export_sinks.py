"""The files that an export writes: tar files as WebDataset reads them, Parquet files as Hugging Face `datasets` reads them."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROWS = 16
"""Samples of a Parquet file that are in memory until they are written, as one row group."""
ABOUT = {"clip_id": "string", "recording_id": "string", "corpus": "string", "language": "string", "speaker": "string",
         "cluster": "string", "fold": "string", "n_frames": "int32", "fps": "int32", "face_px": "float64", "licence": "string"}


@dataclass(slots=True)
class Sample:
    """One track. `about`: plain values; `views`: name -> {jpegs, height, width}; `boxes`: float32 (T, 4) as bytes; `audio`:
    FLAC."""

    id: str
    split: str
    about: dict[str, Any]
    audio: bytes
    boxes: bytes
    views: dict[str, dict[str, Any]] = field(default_factory=dict)


class TarSink:
    """SPLIT-00000.tar: per sample KEY.json, KEY.flac, KEY.boxes.npy and KEY.VIEW.avi (Motion JPEG, the stored frames)."""

    def __init__(self, folder: Path, split: str, k: int, n: int, views: tuple[str, ...]):
        self._tar = tarfile.open(folder / f"{split}-{k:05d}.tar", "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, sample: Sample) -> None:
        """Adds one sample; its files follow each other, as WebDataset asks."""
        import numpy as np

        from core.media_jpeg import join_jpegs

        boxes = io.BytesIO()
        np.save(boxes, np.frombuffer(sample.boxes, "<f4").reshape(-1, 4))
        about = {"id": sample.id, "split": sample.split, **sample.about}
        parts = {"boxes.npy": boxes.getvalue(), "flac": sample.audio,
                 "json": json.dumps(about, sort_keys=True, ensure_ascii=False).encode()}
        for name, view in sample.views.items():
            parts[f"{name}.avi"] = join_jpegs(view["jpegs"], view["width"], view["height"])
        for name, data in sorted(parts.items()):
            entry = tarfile.TarInfo(f"{key_of(sample.id)}.{name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 0
            self._tar.addfile(entry, io.BytesIO(data))

    def close(self) -> None:
        """Ends the file."""
        self._tar.close()


def key_of(name: str) -> str:
    """The name of a sample in a tar file: to WebDataset all that comes after the first dot is the kind of file."""
    return name.replace("%", "%25").replace(".", "%2E")


class ParquetSink:
    """data/SPLIT-00000-of-00001.parquet, with the features' description where `datasets` looks for it."""

    def __init__(self, folder: Path, split: str, k: int, n: int, views: tuple[str, ...]):
        import pyarrow.parquet as pq

        self._schema, self._views, self._rows = schema(views), views, []
        path = folder / "data" / f"{split}-{k:05d}-of-{n:05d}.parquet"
        path.parent.mkdir(exist_ok=True)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", write_statistics=False)
        self._empty = True

    def add(self, sample: Sample) -> None:
        """Adds one sample."""
        import numpy as np

        row: dict[str, Any] = {"id": sample.id, **{name: sample.about[name] for name in ABOUT},
                               "audio": {"bytes": sample.audio, "path": None},
                               "boxes": np.frombuffer(sample.boxes, "<f4").reshape(-1, 4).tolist()}
        for name in self._views:
            row[name] = [{"bytes": jpeg, "path": None} for jpeg in sample.views[name]["jpegs"]] if name in sample.views else None
        self._rows.append(row)
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._empty = [], False

    def close(self) -> None:
        """Writes what is left and ends the file."""
        if self._rows or self._empty:
            self._flush()
        self._writer.close()


def schema(views: tuple[str, ...]) -> Any:
    """The Arrow schema of an exported Parquet file: sound and pictures are structs of bytes and path, as `datasets` has them."""
    import pyarrow as pa

    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    types = {"string": pa.string(), "int32": pa.int32(), "float64": pa.float64()}
    fields = [("id", pa.string()), *((name, types[kind]) for name, kind in ABOUT.items()), ("audio", media),
              ("boxes", pa.list_(pa.list_(pa.float32(), 4))), *((name, pa.list_(media)) for name in views)]
    features: dict[str, Any] = {name: {"dtype": kind, "_type": "Value"} for name, kind in {"id": "string", **ABOUT}.items()}
    features["audio"] = {"sampling_rate": 16000, "_type": "Audio"}
    box = {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "List"}
    features["boxes"] = {"feature": box, "_type": "List"}
    features |= {name: {"feature": {"_type": "Image"}, "_type": "List"} for name in views}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


SINKS = {"webdataset": TarSink, "datasets": ParquetSink}

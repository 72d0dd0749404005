"""The dataset written out for other people's tools: WebDataset tar files, or Parquet as Hugging Face `datasets` reads it.

One sample per track: its sound (FLAC, 16 kHz), its stored views (the JPEG frames as they are, nothing is encoded again), the box
of the face in every frame, and what is known of it. Samples are dealt over the files by a hash of their id, so that every file
holds all languages. The same dataset gives the same bytes. """

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from core.params import Params, suggest
from core.records import columns
from core.shards import ViewStore, read_rows, read_shard, shard_path
from core.stage import UserError, out_folder
from flows.export_sinks import SINKS, Sample

SPLITS = ("train", "validation", "test", "expert_train", "expert_validation", "unmeshed", "generated")
USUAL = SPLITS[:5]
FILE_BYTES = 500 << 20
MOST_FILES = 200
"""Files of one split that are open at once."""
SAMPLES_PER_FRAME = 640


def export(params: Params, kind: str, out: Path, *, views: Iterable[str] | None = None, splits: Iterable[str] | None = None,
           file_bytes: int = FILE_BYTES, root: Path = Path(".")) -> dict[str, Any]:
    """What was written: {format, samples by split, files, bytes}. `out` is new, and there whole or not at all.

    views: names of stored views; None: all that crop stores. splits: None: all that are dealt. UserError where a name is none,
    `out` exists, a licence forbids it, or the data holds what forgotten.yaml names.
    """
    from flows.card import write_card
    from flows.dataset import check_forgotten
    from flows.licences import guard

    if kind not in SINKS:
        raise UserError(f"--format {kind}: expected one of {', '.join(SINKS)}")
    views = tuple(params.crop.store if views is None else dict.fromkeys(views))
    splits = tuple(USUAL if splits is None else dict.fromkeys(splits))
    for given, known, what in ((views, params.crop.store, "--view"), (splits, SPLITS, "--split")):
        for name in given:
            if name not in known:
                raise UserError(f"{what} {name}{suggest(name, known)}")
    out = Path(out)
    if out.exists():
        raise UserError(f"{out}: exists already; an export is written whole into a new folder, so name another or delete it")
    guard(params)
    check_forgotten(params, root)
    dealt = _dealt(params, splits, root)
    if not dealt:
        raise UserError(f"no track is in {', '.join(splits)}; `babelface card` says how many are in which split")
    temp = out.with_name(f".{out.name}.part")
    shutil.rmtree(temp, ignore_errors=True)  # of an export that was ended
    temp.mkdir(parents=True)
    sinks = {}
    try:
        sizes = Counter(row["split"] for row in dealt.values())
        total = _bytes(params, root)
        for split in (s for s in SPLITS if sizes[s]):
            share = total * sizes[split] / sum(sizes.values())
            n_files = int(min(MOST_FILES, sizes[split], max(1, -(-share // file_bytes))))
            sinks[split] = [SINKS[kind](temp, split, k, n_files, views) for k in range(n_files)]
        _pour(params, dealt, views, sinks, root)
        for sink in (s for some in sinks.values() for s in some):
            sink.close()
        write_card(params, temp, root=root, exported={"format": kind, "views": views, "samples": dict(sizes)})
        for path in sorted(p for p in temp.rglob("*") if p.is_file()):
            with open(path, "rb+") as file:
                os.fsync(file.fileno())
        files = sorted(p.relative_to(temp).as_posix() for p in temp.rglob("*") if p.is_file())
        n_bytes = sum((temp / name).stat().st_size for name in files)
        os.replace(temp, out)
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise
    return {"format": kind, "samples": {s: sizes[s] for s in SPLITS if sizes[s]}, "files": len(files), "bytes": n_bytes}


def _pour(params: Params, dealt: dict[str, dict[str, Any]], views: tuple[str, ...], sinks: dict[str, list[Any]],
          root: Path) -> None:
    from core.progress import Progress

    progress = Progress("export", total=len(dealt), unit="samples")
    for sample in samples(params, dealt, views, root):
        files = sinks[sample.split]
        files[int(hashlib.sha256(sample.id.encode()).hexdigest(), 16) % len(files)].add(sample)
        progress.step()
    progress.close()


def _dealt(params: Params, splits: tuple[str, ...], root: Path) -> dict[str, dict[str, Any]]:
    """INSTANCE/TRACK -> its row of the splits table."""
    found: dict[str, dict[str, Any]] = {}
    for who in params.instances():
        path = shard_path(root / out_folder("split", "all"), "splits", who.name)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not there; run first: babelface build")
        for row in read_shard(path).to_pylist():
            if row["split"] in splits:
                found[f"{who.name}/{row['track_id']}"] = row | {"instance": who.name}
    return dict(sorted(found.items()))


def _bytes(params: Params, root: Path) -> int:
    return sum(p.stat().st_size for who in params.instances() for part in ("segment", "crop")
               for p in (root / out_folder(part, who.name)).rglob("shard-*"))


def samples(params: Params, dealt: dict[str, dict[str, Any]], views: tuple[str, ...], root: Path = Path(".")) -> Iterator[Sample]:
    """The samples, instance by instance; no more than a few clips are in memory at once."""
    from corpora.registry import card_of

    for who in params.instances():
        mine = {row["track_id"]: row for row in dealt.values() if row["instance"] == who.name}
        if not mine:
            continue
        card = card_of(who.corpus, params.corpora[who.corpus])
        by_clip: dict[str, list[dict[str, Any]]] = {}
        for track in read_rows(root / out_folder("track", who.name), "tracks",
                               ["track_id", "clip_id", "start_frame", "n_frames", "boxes", "face_px"]):
            if track["track_id"] in mine:
                by_clip.setdefault(track["clip_id"], []).append(track)
        stored = root / out_folder("crop", who.name)
        store = ViewStore(stored) if views and any((stored / "views").glob("shard-*")) else None
        have = {view: set(store.ids(view)) if store else set() for view in views}
        for clip, audio in _clips(who.name, set(by_clip), root):
            for track in sorted(by_clip[clip["clip_id"]], key=lambda t: t["track_id"]):
                name = track["track_id"]
                about = {k: mine[name][k] for k in columns("splits") if k not in ("n_frames", "kind")}
                about |= {"n_frames": track["n_frames"], "fps": 25, "licence": card.licence, "face_px": track["face_px"]}
                yield Sample(f"{who.name}/{name}", mine[name]["split"], about, _cut(audio, clip, track), track["boxes"],
                             {view: store.row(name, view) | {"jpegs": store.jpegs(name, view)} for view in views
                              if name in have[view]})


def _clips(instance: str, wanted: set[str], root: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """(start_frame and n_frames of a clip, its sound as the later stages have it), a few rows in memory at a time."""
    import pyarrow.parquet as pq

    kept = root / out_folder("inspect", instance)
    moved = {r["clip_id"]: r["audio"] for r in (read_rows(kept, "kept", ["clip_id", "audio"]) if (kept / "kept").is_dir() else ())
             if r["audio"] is not None}
    for path in sorted((root / out_folder("segment", instance) / "clips").glob("shard-*")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=32, columns=["clip_id", "start_frame", "n_frames", "audio"]):
            for row in batch.to_pylist():
                if row["clip_id"] in wanted:
                    yield row, moved.get(row["clip_id"], row["audio"])


def _cut(audio: bytes, clip: dict[str, Any], track: dict[str, Any]) -> bytes:
    """FLAC of a track's stretch of its clip; the clip's own bytes where that is all of it."""
    first = track["start_frame"] - clip["start_frame"]
    if first == 0 and track["n_frames"] == clip["n_frames"]:
        return audio
    from core.media import decode_flac, encode_flac

    return encode_flac(decode_flac(audio)[first * SAMPLES_PER_FRAME : (first + track["n_frames"]) * SAMPLES_PER_FRAME])

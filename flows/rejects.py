"""The contact sheet of rejects: a folder that opens from disk, with a picture of every rejected item that has one, to look
through."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.params import Params
from core.records import REASONS, Reject
from core.shards import read_rows, read_shard, write_bytes
from core.stage import UserError, out_folder
from flows.spec import CONTROLS, DATA_STAGES

OUT = Path(".babelface/rejects")
MOST = 2000
THUMB_PX = 176
FPS = 25
# what a stage's items are: the table that says where each lies, and its id there
_PLACES = {"segment": ("download", "recordings", "recording_id"), "track": ("segment", "clips", "clip_id")}
_TRACKS = ("track", "tracks", "track_id")


def rejects(params: Params, root: Path = Path(".")) -> list[dict[str, Any]]:
    """Every reject of every stage here, sorted: rows of the rejects table with `instance`, and `picture`, (file, frame), or
    None."""
    found = []
    names = [(stage, i.name) for stage in DATA_STAGES for i in params.instances()] + [("split", "all")]
    names += [(stage, name) for stage in ("generate", "score") for name in (*sorted(params.train.systems), CONTROLS)]
    names += [("bias", name) for name in params.score.ablation_experts]
    for stage, instance in names:
        place = root / out_folder(stage, instance)
        early = place / "rejects_early.parquet"
        rows = (read_rows(place, "rejects") if (place / "rejects").is_dir() else []) + (read_shard(early).to_pylist()
                                                                                        if early.is_file() else [])
        if rows:
            where = _where(stage, instance, {r["item_id"] for r in rows}, params, root)
            found += [r | {"instance": instance, "picture": where.get(r["item_id"])} for r in rows]
    order = {stage: k for k, stage in enumerate((*DATA_STAGES, "split", "generate", "score", "bias"))}
    return sorted(found, key=lambda r: (order[r["stage"]], r["reason"], r["language"] or "und", r["instance"], r["item_id"]))


def _where(stage: str, instance: str, wanted: set[str], params: Params, root: Path) -> dict[str, tuple[Path, int]]:
    """item -> its media file and a frame in the middle of it."""
    if stage == "download":  # what could not be had has no picture
        return {}
    if stage in ("score", "bias"):
        source = CONTROLS if stage == "bias" else instance
        track_of = {r["generated_id"]: r["track_id"] for r in _rows(root / out_folder("generate", source), "generated",
                                                                   ["generated_id", "track_id"]) if r["generated_id"] in wanted}
    else:
        track_of = {name: name for name in wanted}
    folder, table, key = _PLACES.get(stage, _TRACKS)
    found: dict[str, tuple[Path, int]] = {}
    for who in params.instances():
        if stage in DATA_STAGES and who.name != instance:
            continue
        media = root / out_folder("download", who.name) / "media"
        columns = [key, "file", "n_frames", *(["start_frame"] if table != "recordings" else [])]
        for r in _rows(root / out_folder(folder, who.name), table, columns):
            found[r[key]] = (media / r["file"], r.get("start_frame", 0) + (r.get("n_frames") or 0) // 2)
    return {item: found[track] for item, track in track_of.items() if track in found}


def _rows(place: Path, table: str, columns: list[str]) -> list[dict[str, Any]]:
    return read_rows(place, table, columns) if (place / table).is_dir() else []


def write_sheet(params: Params, out: Path = OUT, *, most: int = MOST, root: Path = Path(".")) -> dict[str, Any]:
    """{rejects, shown, pictures} of the contact sheet written to `out`, in place of an earlier one. UserError for a folder that
    holds something else."""
    from core.executor import recover, swap
    from core.progress import Progress
    from report.page import HERE
    from report.rejects_page import STATIC, render

    out = Path(out)
    if out.exists() and any(out.iterdir()) and not (out / "static" / "rejects.js").is_file():
        raise UserError(f"{out}: holds something else than a contact sheet; name a folder that is new or empty")
    every = rejects(params, root)
    shown = list(_spread(every, most))
    recover(out)
    following = out.with_name(f".{out.name}.next")
    for name in ("static", "pictures"):
        (following / name).mkdir(parents=True)
    progress = Progress("rejects", total=len(shown), unit="items")
    made: dict[tuple[Path, int], str | None] = {}
    items = []
    for r in shown:
        at = r["picture"]
        if at is not None and at not in made:
            made[at] = _picture(at, following / "pictures")
        items.append({k: r[k] for k in ("item_id", "instance", "language", "speaker", "stage", "reason", "detail")}
                     | {"picture": made.get(at) if at else None, "undecodable": at is not None and made[at] is None})
        progress.step()
    progress.close()
    counts = Counter((r["stage"], r["reason"], r["language"] or "und") for r in every)
    for name in STATIC:
        shutil.copyfile(HERE / "static" / name, following / "static" / name)
    write_bytes(following / "index.html", render(items, counts, REASONS).encode())
    swap(following, out)
    return {"rejects": len(every), "shown": len(items), "pictures": sum(i["picture"] is not None for i in items)}


def _spread(rows: list[dict[str, Any]], most: int) -> Iterator[dict[str, Any]]:
    """At most `most` of the rows, in their order: of every stage, reason and language the same number, as far as there are so
    many."""
    cells = Counter((r["stage"], r["reason"], r["language"]) for r in rows)
    each = most
    while sum(min(n, each) for n in cells.values()) > most and each > 1:
        each -= max(1, each // 8)
    taken: Counter[tuple[str, str, str]] = Counter()
    for r in rows:
        cell = (r["stage"], r["reason"], r["language"])
        if taken[cell] < each and taken.total() < most:
            taken[cell] += 1
            yield r


def _picture(at: tuple[Path, int], folder: Path) -> str | None:
    """The name of the picture written, relative to the page; None where the frame cannot be decoded."""
    import cv2

    from core.media import encode_jpeg, read_frames

    path, frame = at
    try:
        rgb = next(iter(read_frames(path, start=frame, stop=frame + 1)), None)
        if rgb is None:
            rgb = next(iter(read_frames(path, stop=1)), None)
    except Reject:
        return None
    if rgb is None:
        return None
    scale = THUMB_PX / max(rgb.shape[:2])
    if scale < 1:
        rgb = cv2.resize(rgb, (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))),
                         interpolation=cv2.INTER_AREA)
    name = hashlib.sha256(f"{path.parent.parent.name}/{path.name}/{frame}".encode()).hexdigest()[:16]
    write_bytes(folder / f"{name}.jpg", encode_jpeg(rgb, 80))
    return f"pictures/{name}.jpg"

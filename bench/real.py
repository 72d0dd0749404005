"""Real clips through the data stages: each file accounted for, how much of each face was seen, contact sheets of the crops.

    python -m bench.real FOLDER --workspace DIR [--expert WEIGHTS] [--jobs 2]
    python -m bench.real --workspace DIR

FOLDER holds videos and an index.csv, as for `babelface real`. DIR is made as that command makes its workspace, but with every
view of params.yaml stored, and built down to views, features and splits; with --expert, what that command does follows:
controls, scores and the report. Without FOLDER a finished workspace is read, such as one of `babelface real`.

Every file ends as faces with views or as rejects, each with its stage and reason. Of every face that `track` accepted, shares of
the clip's frames in which it is:

  counted  as the stage counts it: seen, or between two sightings at most 25 frames apart, where the box is interpolated
  meshed   landmarks were fitted in that very frame
  seen     the finder or the mesh saw it in that very frame, as far as the stored boxes tell
  found    seen, or seen by the finder when this benchmark looks again, in the frames that the stage interpolated

The finder looks every few frames only, so a face whose mesh never fits is counted throughout and seen in few frames; `found` is
what the share of frames with a face means. Into DIR/results/bench go real.json and sheets (PNG) per view: a row of eight frames
per face. A face that `track` accepted and a later stage rejected has no stored view; its row is cut here, where the view needs no
landmarks. Exit status 1 where something is unaccounted for, or an accepted face is counted or found in less than 98 % of the
frames.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.geometry import iou
from core.params import Params
from core.shards import ViewStore, read_rows, read_shard, write_json
from core.stage import out_folder
from core.tracks import Track, load_track

LEAST_SHARE = 0.98
FRAMES = 8  # of a row of a sheet
ROWS = 14  # of a sheet
CELL_PX, LABEL_PX = 96, 250
BEND_PX = 1e-3  # what rounding to float32 bends a straight path by is a tenth of it
STAGES = ("download", "segment", "track", "inspect", "crop")


# ---- the run ------------------------------------------------------------------------------------------------------------------
def build(clips: Path, place: Path, expert: Path | None, jobs: int | None) -> int:
    """The exit status of the data stages over a folder of clips, and with an expert of all that follows, in a workspace."""
    import yaml

    from flows import workspace as ws

    if not (clips / "index.csv").is_file():
        raise FileNotFoundError(f"{clips}: no index.csv in it")
    views = yaml.safe_load((ws.ROOT / "params.yaml").read_text(encoding="utf-8"))["crop"]["views"]
    # Nothing before the stage `score` opens the expert, so without one any file stands for it.
    changes = ws.overrides_for_folder(clips, expert or clips / "index.csv") | {"crop": {"store": sorted(views)}}
    ws.open_workspace(place, changes)
    return ws.run_inside(place, "evaluate" if expert else "build", *(["--jobs", str(jobs)] if jobs else []))


# ---- what became of each file -------------------------------------------------------------------------------------------------
def instances(params: Params) -> list[str]:
    """The data instances of the corpora that are folders of somebody's videos. ValueError where there is none."""
    found = [i.name for i in params.instances() if params.corpora[i.corpus].adapter == "folder"]
    if not found:
        raise ValueError("params.yaml has no corpus with the adapter `folder`")
    return found


def fates(params: Params) -> dict[str, list[dict[str, Any]]]:
    """Index entry (its file, or its id where it has none) -> what became of it, in the workspace of the current folder.

    Each is {item, stage, reason, detail}, with stage and reason None for a face whose views were cut. An entry without any is
    unaccounted for, as is a clip or face that is neither rejected nor passed on; such an item stands there as `lost`.
    """
    from corpora.registry import items as items_of
    from corpora.registry import open_corpus

    found: dict[str, list[dict[str, Any]]] = {}
    for instance in instances(params):
        who = params.instance(instance)
        corpus = params.corpora[who.corpus]
        items, _ = items_of(open_corpus(corpus.adapter), corpus.model_dump(mode="json") | {"name": who.corpus}, who.language)
        files = Counter(i.source.at for i in items if i.source)
        names = {i.id: i.source.at for i in items if i.source and files[i.source.at] == 1}  # stretches of one file: their ids
        refused = {stage: _refused(out_folder(stage, instance)) for stage in STAGES}
        children = {"download": _children(instance, "segment", "clips", "recording_id", "clip_id"),
                    "segment": _children(instance, "track", "tracks", "clip_id", "track_id")}
        recordings = {r["recording_id"] for r in read_rows(out_folder("download", instance), "recordings", ["recording_id"])}
        kept = {r["track_id"] for r in read_rows(out_folder("inspect", instance), "kept", ["track_id"])}
        cut = stored(instance, params)

        def end(item: str, after: str | None) -> Iterator[dict[str, Any]]:
            """What became of one item that the stage `after` gave out; None: the index did."""
            stages = STAGES[STAGES.index(after) + 1:] if after else STAGES
            stages = stages if after == "track" else stages[:1]  # inspect and crop have the same items, faces
            if by := next((stage for stage in stages if item in refused[stage]), None):
                yield {"item": item, "stage": by, "reason": refused[by][item]["reason"], "detail": refused[by][item]["detail"]}
            elif after is None and item in recordings:
                yield from end(item, "download")
            elif item in children.get(after, {}):
                for child in children[after][item]:
                    yield from end(child, "segment" if after == "download" else "track")
            elif after == "track" and item in kept and all((item, view) in cut for view in params.crop.store):
                yield {"item": item, "stage": None, "reason": None, "detail": ""}
            else:
                by = stages[-1]
                yield {"item": item, "stage": by, "reason": "lost", "detail": f"{by} neither kept nor rejected it"}

        for item in sorted({*(i.id for i in items), *refused["download"]}):
            found[names.get(item, item)] = list(end(item, None))
    return found


def _refused(folder: Path) -> dict[str, dict[str, Any]]:
    """Item id -> its reject, those of the index included."""
    early = folder / "rejects_early.parquet"
    rows = read_rows(folder, "rejects") + (read_shard(early).to_pylist() if early.is_file() else [])
    return {r["item_id"]: r for r in rows}


def stored(instance: str, params: Params) -> set[tuple[str, str]]:
    """(track id, view) of every stored view."""
    folder = out_folder("crop", instance)
    if not any((folder / "views").glob("shard-*.arrow")):
        return set()
    store = ViewStore(folder)
    return {(track, view) for view in params.crop.store for track in store.ids(view)}


def _children(instance: str, stage: str, table: str, of: str, key: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for r in read_rows(out_folder(stage, instance), table, [of, key]):
        found.setdefault(r[of], []).append(r[key])
    return {name: sorted(ids) for name, ids in found.items()}


def index_rows(params: Params) -> int:
    """Rows of the indexes, counted by the csv module alone."""
    import csv

    n = 0
    for corpus in params.corpora.values():
        if corpus.adapter == "folder":
            with open(Path(corpus.path) / "index.csv", newline="", encoding="utf-8-sig") as file:
                n += sum(1 for _ in csv.DictReader(file))
    return n


# ---- how much of a face was seen ----------------------------------------------------------------------------------------------
def seen(track: Track) -> np.ndarray:
    """bool (T,): the frames in which finder or mesh saw the face, as far as its boxes tell.

    Between two sightings boxes are interpolated, before the first and after the last they stand still, so a frame in which their
    path bends was a sighting. One that lies just on its neighbours' line cannot be told and does not count.
    """
    boxes = track.boxes.astype(np.float64)
    bend = np.zeros(len(boxes))
    if len(boxes) > 1:
        step = np.diff(boxes, axis=0)
        bend[1:-1] = np.abs(np.diff(step, axis=0)).max(axis=1)
        bend[0], bend[-1] = np.abs(step[0]).max(), np.abs(step[-1]).max()
    return track.meshed | (bend > BEND_PX)


def longest(missing: np.ndarray) -> int:
    """The length of the longest run of True."""
    best = run = 0
    for here in missing:
        run = run + 1 if here else 0
        best = max(best, run)
    return best


def look_again(finder: Any, frames: Any, track: Track, asked: np.ndarray, iou_least: float) -> np.ndarray:
    """bool (T,): of the frames `asked` (T,), those in which the finder finds a face that overlaps the track's box, looking
    closely and then at the whole frame. frames: all T, uint8 RGB or lazy."""
    from stages.track import CLOSER

    found = np.zeros(len(asked), bool)
    for f, frame in enumerate(frames):
        if not asked[f]:
            continue
        box = track.boxes[f]
        side = float(max(box[2:] - box[:2])) * CLOSER
        left, top = (max(0, int(c - side / 2)) for c in (box[:2] + box[2:]) / 2)
        part = np.ascontiguousarray(frame[top:top + int(side), left:left + int(side)])
        boxes = [d.moved(left, top).box for d in finder.find(part)] if part.size else []
        if not np.any(iou(box, np.array(boxes)) >= iou_least):
            boxes = [d.box for d in finder.find(np.asarray(frame))]
        found[f] = np.any(iou(box, np.array(boxes)) >= iou_least)
    return found


def faces(params: Params) -> list[dict[str, Any]]:
    """One row per face that `track` accepted in the current workspace: file, frames, shares, and the longest run not seen."""
    from core import media
    from core.choose import FINDERS, choose
    from models.experts.finder import open_finder
    from stages.track import KEEP_SCORE

    kind, weights = choose(params.track.finder, FINDERS)
    finder = open_finder(weights.path, kind, score=KEEP_SCORE)
    rows = []
    for instance in instances(params):
        folder = out_folder("download", instance)
        source = {r["recording_id"]: r["source"] for r in read_rows(folder, "recordings", ["recording_id", "source"])}
        for row in read_rows(out_folder("track", instance), "tracks"):
            track = load_track(row)
            there = seen(track)
            frames = media.read_lazy_frames(folder / "media" / row["file"], start=row["start_frame"],
                                            stop=row["start_frame"] + row["n_frames"])
            again = there if there.all() else look_again(finder, frames, track, ~there, params.track.iou)
            rows.append({"track_id": row["track_id"], "clip_id": row["clip_id"], "file": source[row["recording_id"]],
                         "instance": instance, "n_frames": row["n_frames"], "face_px": row["face_px"],
                         "counted": row["face_share"], "meshed": row["mesh_share"], "seen": float(there.mean()),
                         "found": float((there | again).mean()), "longest_unseen": longest(~there),
                         "left_px": float(np.median(track.boxes[:, 0]))})
    return sorted(rows, key=lambda r: (r["file"], r["track_id"]))


# ---- sheets -------------------------------------------------------------------------------------------------------------------
def strip(params: Params, face: dict[str, Any], view: str, is_stored: bool) -> np.ndarray | None:
    """FRAMES cells of one face side by side, uint8 (CELL_PX, W, 3) RGB, evenly spaced through the clip; None where the view was
    not stored and needs landmarks."""
    import cv2

    from core import media
    from core.views import ViewTemplate, view_transforms
    from models.experts.finder import s3fd_boxes
    from stages.crop import MESHED

    at = np.linspace(0, face["n_frames"] - 1, FRAMES).round().astype(int)
    template = ViewTemplate(**params.crop.views[view].model_dump())
    if is_stored:
        store = ViewStore(out_folder("crop", face["instance"]))
        cells = [store.frames(face["track_id"], view, f, f + 1)[0] for f in at]
    elif template.kind in MESHED:
        return None
    else:
        row = next(r for r in read_rows(out_folder("track", face["instance"]), "tracks") if r["track_id"] == face["track_id"])
        track = load_track(row)
        boxes = s3fd_boxes(track.boxes, row["finder"]) if template.kind == "syncnet" else track.boxes
        moves, start = view_transforms(template, boxes), row["start_frame"]
        frames = media.read_frames(out_folder("download", face["instance"]) / "media" / row["file"], start=start,
                                   stop=start + row["n_frames"])
        shown = {f: template.cut(frame, moves[f]) for f, frame in enumerate(frames) if f in at}
        cells = [shown[f] for f in at]
    height, width = template.shape
    size = (round(width * CELL_PX / height), CELL_PX)
    how = cv2.INTER_AREA if height > CELL_PX else cv2.INTER_LINEAR
    return np.hstack([cv2.resize(c, size, interpolation=how) for c in cells])


def write_sheets(params: Params, rows: list[dict[str, Any]], out: Path) -> list[Path]:
    """The sheets written, `real-VIEW-N.png`, ROWS faces each, in the order of `rows`; to the left the file, the face, its end."""
    import cv2

    there = set().union(*(stored(instance, params) for instance in sorted({r["instance"] for r in rows})))
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("real-*.png"):
        old.unlink()
    written = []
    for view in params.crop.store:
        strips = [(face, strip(params, face, view, (face["track_id"], view) in there)) for face in rows]
        strips = [(face, cells) for face, cells in strips if cells is not None]
        for k in range(0, len(strips), ROWS):
            lines = []
            for face, cells in strips[k:k + ROWS]:
                label = np.full((CELL_PX, LABEL_PX, 3), 255, np.uint8)
                words = (face["file"].rpartition("/")[2], face["track_id"][-26:],
                         f"{face['n_frames']} frames, {face['face_px']:.0f} px",
                         f"meshed {face['meshed']:.0%}, found {face['found']:.0%}", face["end"])
                for n, line in enumerate(words):
                    cv2.putText(label, line, (4, 16 + 18 * n), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
                lines.append(np.hstack([label, cells]))
            path = out / f"real-{view}-{k // ROWS + 1}.png"
            if not cv2.imwrite(str(path), np.vstack(lines)[..., ::-1]):
                raise OSError(f"{path}: could not be written")
            written.append(path)
    return written


# ---- together -----------------------------------------------------------------------------------------------------------------
def measure(folder: Path) -> dict[str, Any]:
    """Everything about a finished workspace, its sheets written. FileNotFoundError where it is not finished."""
    from core.params import load_params

    if not (folder / "params.yaml").is_file():
        raise FileNotFoundError(f"{folder}: no workspace; name a folder of clips too, and it is made")
    with contextlib.chdir(folder):
        params = load_params()
        missing = [str(out_folder(s, i)) for s in STAGES for i in instances(params)
                   if not (out_folder(s, i) / "stats.json").is_file()]
        if missing:
            raise FileNotFoundError(f"{folder}: no {missing[0]}; build it first")
        files, tracks = fates(params), faces(params)
        ends = {e["item"]: f"{e['stage']}: {e['reason']}" if e["reason"] else "kept"
                for some in files.values() for e in some}
        for face in tracks:
            face["end"] = ends.get(face["track_id"], "LOST")
        sheets = write_sheets(params, tracks, Path("results") / "bench")
        n_rows = index_rows(params)
    return judged({"n_rows": n_rows, "files": files, "faces": tracks, "sheets": [p.as_posix() for p in sheets]})


def judged(result: dict[str, Any]) -> dict[str, Any]:
    """The result with `problems`, a sentence each, and `passes`."""
    files = result["files"]
    n_rows = result["n_rows"]
    problems = [] if len(files) == n_rows else [f"{n_rows} rows in the index, {len(files)} files accounted for"]
    problems += [f"{name}: nothing became of it" for name, some in files.items() if not some]
    problems += [f"{name}: {e['item']}: {e['detail']}" for name, some in files.items() for e in some if e["reason"] == "lost"]
    problems += [f"{face['file']}: {face['track_id']} is {what} in {face[what]:.1%} of its frames"
                 for face in result["faces"] for what in ("counted", "found") if not face[what] >= LEAST_SHARE]
    if not result["faces"]:
        problems.append("no face was accepted")
    return result | {"problems": problems, "passes": not problems}


def text(result: dict[str, Any]) -> str:
    """All tables."""
    lines = [f"{len(result['files'])} files of {result['n_rows']} rows"]
    for name, some in sorted(result["files"].items()):
        kept = sum(e["reason"] is None for e in some)
        why = Counter(f"{e['stage']}: {e['reason']}" for e in some if e["reason"])
        lines.append(f"  {name:<36} {kept:>3} kept  " + ", ".join(f"{reason} {n}" for reason, n in sorted(why.items())))
    widths = {"counted": 7, "meshed": 7, "seen": 6, "found": 6}
    head = " ".join(f"{what:>{width}}" for what, width in widths.items())
    lines += ["", f"{len(result['faces'])} faces that `track` accepted; shares of the clip's frames, per cent",
              f"  {'file':<32} {'frames':>6} {'px':>4} {head} {'longest unseen':>14}  end"]
    for r in result["faces"]:
        shares = " ".join(f"{100 * r[what]:>{width}.1f}" for what, width in widths.items())
        lines.append(f"  {r['file']:<32} {r['n_frames']:>6} {r['face_px']:>4.0f} {shares} {r['longest_unseen']:>14}  {r['end']}")
    several = Counter(r["clip_id"] for r in result["faces"])
    for clip in sorted(c for c, n in several.items() if n > 1):
        lines.append(f"{several[clip]} faces in {clip}: " + "; ".join(
            f"{r['track_id']} at x {r['left_px']:.0f}, {r['end']}" for r in result["faces"] if r["clip_id"] == clip))
    return "\n".join([*lines, *(f"MISSED: {p}" for p in result["problems"]), "pass" if result["passes"] else "FAIL"])


def main(arguments: list[str] | None = None) -> int:
    """Builds where a folder is named, prints and writes: 1 where something is missed, 2 where it cannot be measured."""
    from core.params import ParamsError
    from core.stage import UserError
    from core.weights import WeightsMissing
    from flows.workspace import WorkspaceError

    parser = argparse.ArgumentParser(prog="python -m bench.real", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="folder of videos with an index.csv")
    parser.add_argument("--workspace", type=Path, required=True, help="where to work, or what to read")
    parser.add_argument("--expert", type=Path, help="weights of the sync expert: goes on to the report")
    parser.add_argument("--jobs", type=int, help="cores to use (default all)")
    chosen = parser.parse_args(arguments)
    try:
        if chosen.folder is not None and (status := build(chosen.folder, chosen.workspace, chosen.expert, chosen.jobs)):
            return status
        result = measure(chosen.workspace)
    except (UserError, ParamsError, WorkspaceError, WeightsMissing, FileNotFoundError, ValueError) as error:
        print(f"bench.real: {error}", file=sys.stderr)
        return 2
    print(text(result))
    out = chosen.workspace / "results" / "bench"
    write_json(out / "real.json", result)
    print(f"written: {out / 'real.json'} and {len(result['sheets'])} sheets beside it")
    return 0 if result["passes"] else 1


if __name__ == "__main__":
    raise SystemExit(main())

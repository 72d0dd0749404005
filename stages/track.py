"""Finds faces and follows them: a box and 468 landmarks per frame and face, for every clip of one corpus and language.

INSTANCE is a corpus and a language, such as synthetic-en. A finder looks every few frames, the mesh is fitted in the crop around
each face on every frame. A clip with two faces gives two tracks; one with none is rejected with the reason. Where the index gives a
crop box, only faces whose middle lies in it are followed on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.executor import Work, run_stage
from core.geometry import extent
from core.params import Params
from core.records import Reject, carry
from core.shards import read_rows
from core.stage import out_folder, run_cli, seal
from core.tracks import N_LANDMARKS, Track, pack_track, smooth_points

START_SCORE = {"yunet": 0.6, "blazeface": 0.5}
KEEP_SCORE = 0.3  # a face that is followed already is believed at this score
CLOSER = 3.0  # side of a look at one face, in boxes
CLOSE_SIDE = 256  # pixels to which such a look is shrunk: the face keeps 85, and that costs a quarter of a whole frame of 640 x 360
RENEW = 3  # looks of which one renews the box of a face that its mesh follows; as near to a look at every frame as with 2
NEWCOMERS = 6  # looks of which one goes to the whole frame while faces are followed
PATIENCE = 4  # looks at which the mesh is tried in vain before it is tried at every fourth only
MAX_GAP = 25  # frames without a sighting that are interpolated, as in SyncNet's pipeline


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished tracking."""
    from core.choose import FINDERS, MESHES, choose

    finder, finder_file = choose(params.track.finder, FINDERS)
    mesh, mesh_file = choose(params.track.landmarker, MESHES)
    weights = {"finder": f"{finder}:{finder_file.sha256}", "landmarker": f"{mesh}:{mesh_file.sha256}"}
    config = params.track.model_dump() | {"media": str(out_folder("download", instance) / "media"), "threads": params.executor.codec_threads,
                                          "finder": (finder, str(finder_file.path)), "mesh": (mesh, str(mesh_file.path)), "names": weights}
    columns = ["clip_id", "recording_id", "corpus", "language", "speaker", "cluster", "kind", "file", "start_frame", "n_frames"]
    recordings = {r["recording_id"]: r for r in read_rows(out_folder("download", instance), "recordings",
                                                          ["recording_id", "sha256", "extra"])}
    work = []
    for row in read_rows(out_folder("segment", instance), "clips", columns):
        of = recordings[row["recording_id"]]
        payload = row | crop_box(of["extra"])
        work.append(Work(row["clip_id"], f"{of['sha256']}:{sorted(payload.items(), key=str)}", payload, row))
    return run_stage("track", instance, work, "stages.track:Mapper", config=config, tables=("tracks",),
                     fingerprint=seal("track", params.track.model_dump(), weights), n_shards=params.shards,
                     executor=params.executor)


class Mapper:
    """Tracks every face of one clip."""

    def __init__(self, config: dict[str, Any]):
        from models.experts.finder import open_finder
        from models.experts.landmarks import open_landmarker

        self._c = config
        self._finder = open_finder(Path(config["finder"][1]), config["finder"][0], score=KEEP_SCORE)
        self._mesh = open_landmarker(Path(config["mesh"][1]), config["mesh"][0])

    def __call__(self, row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import media

        frames = media.read_lazy_frames(Path(self._c["media"]) / row["file"], start=row["start_frame"],
                                        stop=row["start_frame"] + row["n_frames"], threads=self._c["threads"])
        size: list[tuple[int, int]] = []
        faces, n_frames = follow(_sized(frames, size), self._finder, self._mesh, every=self._c["every"], iou_least=self._c["iou"],
                                 start_score=START_SCORE[self._c["finder"][0]])
        if n_frames != row["n_frames"]:
            raise Reject("decode_error", f"{row['file']}: {n_frames} of {row['n_frames']} frames decoded")
        if not faces:
            raise Reject("no_face", f"{row['clip_id']}: no face found in {n_frames} frames")
        faces = in_box(faces, row, size[0])
        large = [f for f in faces if f.side() >= self._c["min_face_px"]]
        if not large:
            raise Reject("face_too_small", f"{row['clip_id']}: the largest face is {max(f.side() for f in faces):.0f} pixels; "
                         f"the minimum is {self._c['min_face_px']:g}")
        steady = [f for f in large if len(f.covered()) / n_frames >= self._c["min_face_share"]]
        if not steady:
            best = max(len(f.covered()) for f in large)
            raise Reject("face_lost", f"{row['clip_id']}: the steadiest face is seen in {best} of {n_frames} frames; "
                         f"the least share is {self._c['min_face_share']:g}")
        # From left to right, so that the order does not depend on which was found first.
        steady.sort(key=lambda f: float(np.median([b[0] for b in f.boxes.values()])))
        rows = []
        for k, face in enumerate(steady):
            track = face.track(n_frames, self._c["smooth_frames"])
            rows.append(carry(row, "tracks") | pack_track(track) | {
                "track_id": f"{row['clip_id']}-t{k}", "track_index": k, "face_share": len(face.covered()) / n_frames,
                "mesh_share": float(track.meshed.mean()), "face_px": face.side(),
                "finder": self._c["names"]["finder"], "landmarker": self._c["names"]["landmarker"]})
        return {"tracks": rows}


def crop_box(extra: str | None) -> dict[str, Any]:
    """What a recording's `extra` says of its crop box, as an item's payload has it: box, box_unit, box_frame_height; {} without."""
    said = json.loads(extra) if extra else {}
    return {k: said[k] for k in ("box", "box_unit", "box_frame_height") if k in said} if "box" in said else {}


def in_box(faces: list[Face], row: dict[str, Any], size: tuple[int, int]) -> list[Face]:
    """The faces whose median middle lies in the index's crop box; all of them where it gives none, or where the box counts pixels
    of a frame of unknown height and reaches outside this one. size: (width, height) of the frame. Reject where none is left."""
    if row.get("box") is None:
        return faces
    width, height = size
    scale = (width, height) if row["box_unit"] == "share" else (height / (row.get("box_frame_height") or height),) * 2
    x0, y0, x1, y1 = np.multiply(row["box"], [*scale, *scale])
    if row["box_unit"] == "px" and row.get("box_frame_height") is None and (x1 > width or y1 > height):
        return faces
    found = []
    for face in faces:
        x, y = np.median([(b[:2] + b[2:]) / 2 for b in face.boxes.values()], axis=0)
        found += [face] if x0 <= x <= x1 and y0 <= y <= y1 else []
    if not found:
        raise Reject("no_face", f"{row['clip_id']}: {len(faces)} found, none in the box {x0:.0f} {y0:.0f} {x1:.0f} {y1:.0f} that the index gives")
    return found


def _sized(frames, size: list[tuple[int, int]]):
    """The same frames; the first one's (width, height) is noted."""
    for frame in frames:
        if not size:
            size.append(frame.shape[1::-1])
        yield frame


class Face:
    """One face while it is followed: boxes and mesh points by frame."""

    def __init__(self, frame: int, box: np.ndarray, sure: bool = True):
        self.sure = sure  # whether the finder was ever certain of it
        self.boxes: dict[int, np.ndarray] = {frame: box}
        self.points: dict[int, np.ndarray] = {}
        self.here = box  # where it is believed to be
        self.looked_for = frame  # when the finder was last asked for it
        self._vain = 0  # tries of the mesh in vain, one after the other
        self._shift = np.zeros(2, np.float32)  # from the mesh's centre to the finder's box centre

    def found(self, frame: int, box: np.ndarray) -> None:
        """The finder saw it."""
        self.boxes[frame] = self.here = box

    def meshed(self, frame: int, points: np.ndarray) -> None:
        """The mesh fitted; between two looks of the finder the box moves along with it."""
        low, high = extent(points)
        centre = (low + high) / 2
        if frame in self.boxes or not self.points:
            self._shift = (self.here[:2] + self.here[2:]) / 2 - centre
        else:
            half = (self.here[2:] - self.here[:2]) / 2
            self.here = np.concatenate([centre + self._shift - half, centre + self._shift + half]).astype(np.float32)
            self.boxes[frame] = self.here
        self.points[frame] = points
        self._vain = 0

    def may_fit(self) -> bool:
        """Whether the mesh should be tried on a face that was without one: it costs six passes to fail, so ever more rarely."""
        self._vain += 1
        return self._vain <= PATIENCE or self._vain % PATIENCE == 0

    def last_seen(self) -> int:
        return max(self.boxes)

    def covered(self) -> list[int]:
        """The frames in which it was seen, and those of gaps short enough to interpolate."""
        at = sorted(self.boxes)
        inside = [f for a, b in zip(at, at[1:], strict=False) if b - a <= MAX_GAP for f in range(a + 1, b)]
        return sorted({*at, *inside})

    def side(self) -> float:
        """The median of the larger side of its boxes, in pixels."""
        return float(np.median([max(b[2] - b[0], b[3] - b[1]) for b in self.boxes.values()]))

    def track(self, n_frames: int, smooth: int) -> Track:
        """Boxes and landmarks for every frame: gaps filled linearly, landmarks smoothed over `smooth` frames. A face that was never
        meshed gets the centre of its box for every landmark, and `meshed` says so."""
        meshed = np.isin(np.arange(n_frames), list(self.points))
        boxes = _fill(self.boxes, n_frames)
        if not self.points:
            centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
            return Track(boxes.astype(np.float32), np.repeat(centre, N_LANDMARKS, 1).astype(np.float32), meshed)
        points = _fill({f: p.reshape(-1) for f, p in self.points.items()}, n_frames)
        points = smooth_points(points.reshape(n_frames, -1, 2), smooth)
        return Track(boxes.astype(np.float32), points.astype(np.float32), meshed)


def _fill(known: dict[int, np.ndarray], n_frames: int) -> np.ndarray:
    at = np.array(sorted(known))
    values = np.stack([known[f] for f in at]).astype(np.float64)
    where = np.interp(np.arange(n_frames), at, np.arange(len(at)))
    low = np.floor(where).astype(int)
    high = np.minimum(low + 1, len(at) - 1)
    share = (where - low)[:, None]
    return values[low] * (1 - share) + values[high] * share


def follow(frames, finder, mesh, *, every: int, iou_least: float, start_score: float) -> tuple[list[Face], int]:
    """(faces, number of frames) of a stream of uint8 RGB frames, arrays or lazy ones, one in memory at a time.

    A face needs one detection of at least `start_score`; weaker ones only carry it on, before and after.
    """
    faces: list[Face] = []
    n = 0
    for f, frame in enumerate(frames):
        n = f + 1
        followed = [x for x in faces if f - x.last_seen() <= MAX_GAP]
        if f % every == 0:
            if f <= every or not followed or f % (NEWCOMERS * every) == 0:
                _look(finder, frame, faces, f, iou_least, start_score)
            else:
                _look_at(finder, frame, [x for x in followed if f % (RENEW * every) == 0 or f - 1 not in x.points], f, iou_least)
        for face in [x for x in faces if f - x.last_seen() <= MAX_GAP]:
            # A face whose mesh does not fit (a mask, a hand before it) is tried again at the next look only.
            fitted_before = f - 1 in face.points or (f in face.boxes and face.may_fit())
            near = face.points.get(f - 1)
            points = _mesh(mesh, frame, face.here, near) if fitted_before else None
            if points is None and fitted_before and face.looked_for != f:  # just lost between two looks
                _look_at(finder, frame, [face], f, iou_least)
                points = _mesh(mesh, frame, face.here, near)
            if points is not None:
                face.meshed(f, points[:N_LANDMARKS])
    for face in faces:
        if face.last_seen() == face.looked_for:  # no mesh to follow it by, but the finder saw it when it last looked
            face.boxes[n - 1] = face.here
    return [face for face in faces if face.sure], n


def _mesh(mesh, frame: np.ndarray, box: np.ndarray, near: np.ndarray | None) -> np.ndarray | None:
    """The points of the face in `box`, or None. Faces in profile are only seen in a wider crop, so two of them are tried."""
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    for wider in (1.0, 1.8, 2.2):
        points, _ = mesh.points(frame, np.concatenate([centre - wider * half, centre + wider * half]).astype(np.float32), near)
        if points is not None:
            low, high = extent(points)
            if np.all(np.abs((low + high) / 2 - centre) <= half):
                return points
    return None


def _look(finder, frame: np.ndarray, faces: list[Face], f: int, iou_least: float, start_score: float) -> None:
    """One look of the finder at the whole frame, and a closer one where a face was and is not found."""
    followed = [x for x in faces if f - x.last_seen() <= MAX_GAP]
    _match(faces, finder.find(np.asarray(frame)), f, iou_least, start_score)
    for face in followed:
        face.looked_for = f
    _look_at(finder, frame, [x for x in followed if f not in x.boxes], f, iou_least, sides=(None,))


def _look_at(finder, frame: np.ndarray, faces: list[Face], f: int, iou_least: float,
             sides: tuple[int | None, ...] = (CLOSE_SIDE, None)) -> None:
    """A look of the finder at each of these faces alone: the surroundings of where it was, shrunk, and at full resolution if that
    does not show it."""
    for face in faces:
        face.looked_for = f
        side = float(max(face.here[2:] - face.here[:2])) * CLOSER
        left, top = (max(0, int(c - side / 2)) for c in (face.here[:2] + face.here[2:]) / 2)
        part = np.ascontiguousarray(frame[top:top + int(side), left:left + int(side)])
        for longest in sides if part.size else ():
            _match([face], [d.moved(left, top) for d in finder.find(part, longest)], f, iou_least, np.inf, begin=False)
            if f in face.boxes or max(part.shape) <= (longest or 0):
                break


def _match(faces: list[Face], found, frame: int, iou_least: float, start_score: float, begin: bool = True) -> None:
    """Gives each face the box that overlaps it most, and makes new faces of the rest where `begin`."""
    from scipy.optimize import linear_sum_assignment

    from core.geometry import iou

    alive = [x for x in faces if frame - x.last_seen() <= MAX_GAP]
    overlap = iou(np.array([x.here for x in alive]).reshape(-1, 4), np.array([d.box for d in found]).reshape(-1, 4))
    taken = set()
    for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[i, j] >= iou_least:
            alive[i].found(frame, found[j].box)
            alive[i].sure |= found[j].score >= start_score
            taken.add(j)
    for j, detection in enumerate(found):
        if begin and j not in taken and not np.any(overlap[:, j] >= iou_least):
            faces.append(Face(frame, np.asarray(detection.box, np.float32), detection.score >= start_score))


if __name__ == "__main__":
    sys.exit(run_cli("track", main, doc=__doc__))

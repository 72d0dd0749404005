"""Scores any videos, with or without the pipeline: the work behind `babelface score`. No stage: it reads files and gives rows.

A video with a reference is judged on the reference's face track, so that both are cut alike; one without on its own. Every video
gives at least one row: what cannot be scored is null, with the reason.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.params import Params, Score, Sets
from core.params import Track as TrackParams
from core.records import Reject, cluster_of, columns
from core.stage import UserError
from core.timing import FPS, SAMPLES_PER_FRAME, SYNCNET_FRAMES

LONGEST_GAP_S = SYNCNET_FRAMES / FPS  # a hole as long as a sync window leaves windows that show nothing
STEADY_SHARE = 0.9  # of the frames that a face must be seen in, where its track is not what the expert looks at
SHOT_THRESHOLD = 3.0  # of the protocol that cuts at scene cuts; params.segment has its own
CORPUS = "files"
REAL = "real"


@dataclass(frozen=True, slots=True)
class Entry:
    """One video to score. `name` is how the user called it; audio: a file whose sound is used instead of the video's own, which
    then says something else than the reference unless the condition is self."""

    name: str
    generated: Path
    reference: Path | None = None
    reference_name: str = ""
    language: str | None = None
    speaker: str | None = None
    system: str = "unnamed"
    condition: str = "self"
    audio: Path | None = None
    audio_name: str = ""
    audio_language: str | None = None
    training_languages: tuple[str, ...] = ()
    sample: int = 0
    transcript: str | None = None  # the words of the sound


@dataclass(frozen=True, slots=True)
class Seen:
    """One face of a video: its track from frame `start` on, and why the sync expert must not be asked, if it must not."""

    track: Any
    start: int
    no_sync: str | None


@dataclass(frozen=True, slots=True)
class Sound:
    """int16 mono 16 kHz samples from the first video frame on, or why there are none; no_sync: why the expert must not be
    asked."""

    samples: np.ndarray | None
    reason: str = ""
    no_sync: str | None = None


@dataclass(slots=True)
class Film:
    """What is known of one video: frames, (width, height), sound, faces or why there is none, and why the sync expert must not be
    asked."""

    path: Path
    n_frames: int
    size: tuple[int, int]
    sound: Sound
    no_sync: str | None
    faces: list[Seen] = field(default_factory=list)
    no_track: str = "no_face"


class Scorer:
    """Opens the models once and scores entries one by one."""

    def __init__(self, protocol: str = "syncnet-v2-direct", expert: Path | None = None, params: Params | None = None,
                 fetch: bool = True):
        from core.choose import FINDERS, MESHES, choose
        from core.weights import WeightsMissing, find
        from stages.judge import Judge, networks, read_expert, read_reader
        from stages.set_figures import Networks, find_networks
        from stages.track import KEEP_SCORE

        self.notes: list[str] = []
        self.made: dict[str, tuple[Entry, int]] = {}  # generated_id -> what was scored, and its first frame
        self.members: list[Any] = []  # what figures of sets need, of the rows whose entry asked for them
        settings = params.track if params else TrackParams()
        if expert is None:
            try:
                expert = find("syncnet_v2", fetch=fetch).path
            except WeightsMissing as error:
                self.notes.append(f"no sync expert, so LSE is null (no_expert): {str(error).partition(' (')[0]} was not found; "
                                  "name a file with --expert")
        known = None if expert is None else read_expert(expert)
        self._finder = self._mesh_file = None
        self.finder_name: str | None = None
        mesh = None
        try:
            kind, file = choose(settings.finder, FINDERS)
            mesh, mesh_file = choose(settings.landmarker, MESHES)
        except WeightsMissing as error:
            self.notes.append(f"no face finder or mesh, so faces are not looked for (no_finder): {str(error).partition(' (')[0]} "
                              "was not found")
        else:
            from models.experts.finder import open_finder

            self._kind, self.finder_name = kind, f"{kind}:{file.sha256}"
            self._finder = open_finder(file.path, kind, score=KEEP_SCORE)
        self._settings = settings
        scoring = params.score if params else Score(expert="none")
        self.judge = Judge({"protocol": protocol, "vshift": scoring.vshift, "min_windows": scoring.min_windows,
                            "view": view_of(known, params), "expert": known, "mesh": mesh and (mesh, str(mesh_file.path)),
                            "smooth_frames": settings.smooth_frames, "sound": "file", "precision": scoring.precision,
                            "reader": read_reader(scoring, params.crop.views if params else {}), **networks()[0]})
        sets = params.sets if params else Sets()
        found, marks = find_networks(None if sets.i3d is None else Path(sets.i3d.weights))
        self.set_networks, self.recall = Networks({**found, "every": sets.every}, marks), sets.recall
        self.film, self.sound = lru_cache(maxsize=64)(self._film), lru_cache(maxsize=64)(self._sound)

    def rows(self, entry: Entry, sets: bool = False) -> list[dict[str, Any]]:
        """The score rows of one video: one per face, one without where none is found or the file cannot be read. sets: also keep
        what figures of sets need, for `set_rows`."""
        out = []
        try:
            for k, (take, start) in enumerate(self.takes(entry)):
                out.append(self._row(entry, k, take))
                self.made[out[-1]["generated_id"]] = entry, start
                if sets:
                    self._keep(entry, out[-1], take)
        except Reject as reject:
            out.append(self._row(entry, len(out), None, reject.reason))
        return out

    def _keep(self, entry: Entry, row: dict[str, Any], take: Any) -> None:
        from stages.set_figures import PICTURES, Member, pictures, remains

        shared = entry.condition == "shuffled"  # the picture is that of another row
        seen = dict.fromkeys(PICTURES, "same_picture") if shared or entry.sample else pictures(self.set_networks, take)
        self.members.append(Member(row, remains(row, take, lips=True), seen))

    def set_rows(self) -> list[dict[str, Any]]:
        """The figures of sets (table `sets`) of all rows that were kept for them."""
        from stages.set_figures import set_rows, sets_in

        of = {m.row["generated_id"]: m for m in self.members}
        expert = (self.judge.config["expert"] or {}).get("name")
        return [row for key, rows in sets_in([m.row for m in self.members], {}).items()
                for row in set_rows(key, [of[r["generated_id"]] for r in rows], self.set_networks, expert, self.recall)]

    def takes(self, entry: Entry) -> Iterator[tuple[Any, int]]:
        """(Take, its first frame in the video) of every face of one video; one without a face where none is found. Reject where
        the file cannot be read."""
        shown = self.film(entry.generated)
        base = self.film(entry.reference) if entry.reference else shown
        sound = self.sound(entry.audio) if entry.audio else shown.sound
        for face in [*base.faces] or [None]:
            start = face.start if face else 0
            n = min(shown.n_frames - start, len(face.track.boxes) if face else base.n_frames)
            if n < 1:
                raise Reject("too_short", f"{entry.name}: ends before the face of {entry.reference_name} begins")
            yield self._take(entry, shown, base, sound, face, start, n), start

    def _take(self, entry: Entry, shown: Film, base: Film, sound: Sound, face: Seen | None, start: int, n: int) -> Any:
        from core import media
        from stages.figures import Take, known_points
        from core.reel import Reel
        from stages.judge import seen_frames

        track = None if face is None else face.track
        if track is not None and shown.size != base.size:
            track = _scaled(track, shown.size, base.size)
        own = shown.path == base.path
        if own:
            no_source = "is_the_reference" if entry.system == REAL else "no_reference"
        else:  # the real clip says something else: only the same words may be compared
            no_source = "other_words" if entry.condition != "self" else "sizes_differ" if shown.size != base.size else ""
        samples = None if sound.samples is None else sound.samples[start * SAMPLES_PER_FRAME:(start + n) * SAMPLES_PER_FRAME]

        def reel(path: Path) -> Reel:
            return Reel(lambda: media.read_frames(path, start=start, stop=start + n), n)

        return Take(frames=reel(shown.path), n_frames=n, samples=samples, no_sound=sound.reason, face=track,
                    finder=self.finder_name, no_track=base.no_track, sync_frames=seen_frames(self.judge, shown.path, start, n),
                    no_sync=shown.no_sync or sound.no_sync or (face.no_sync if face else None),
                    source=None if no_source else reel(base.path), no_source=no_source,
                    points=known_points(track, n) if own and track is not None else None, ask_lags=entry.system == REAL,
                    said=entry.transcript if (start, n) == (0, shown.n_frames) else None,
                    spoken=entry.audio_language or entry.language)

    def _row(self, entry: Entry, k: int, take: Any, reason: str = "") -> dict[str, Any]:
        from stages.figures import METRICS

        clip = entry.reference_name or entry.name
        tail = "" if entry.condition == "self" else f"+{entry.condition}"
        row: dict[str, Any] = dict.fromkeys(columns("scores")) | {
            "generated_id": f"{entry.system}/{entry.name}-t{k}{tail}" + (f"#{entry.sample}" if entry.sample else ""),
            "track_id": f"{clip}-t{k}", "clip_id": clip, "corpus": CORPUS, "language": entry.language, "speaker": entry.speaker,
            "cluster": cluster_of(entry.speaker, clip), "kind": REAL if entry.system == REAL else "generated",
            "system": entry.system,
            "training": None, "training_languages": list(entry.training_languages), "condition": entry.condition,
            "audio_clip_id": entry.audio_name or clip, "audio_language": entry.audio_language or entry.language,
            "n_frames": take.n_frames if take else 0, "sample": entry.sample, "path": entry.generated.as_posix()}
        if take is not None:
            return row | self.judge(take)
        expert = self.judge.config["expert"] or {}
        return row | {"protocol": self.judge.describe(self.finder_name), "expert": expert.get("name"),
                      "expert_sha256": expert.get("sha256"),
                      "finder": self.finder_name, "null_reasons": [{"metric": m, "reason": reason} for m in sorted(METRICS)]}

    def _film(self, path: Path) -> Film:
        from core import media

        if not path.is_file():
            raise Reject("missing_file", f"{path}: no such file")
        times = media.frame_times(path)
        n = media.grid_length(times[-1])
        still_s = float(np.diff(times).max(initial=0.0))
        gap = "gap_in_picture" if still_s > LONGEST_GAP_S + 1e-6 else None
        first = next(media.read_frames(path, stop=1), None)
        if first is None:
            raise Reject("no_frames", f"{path}: no frame can be decoded")
        film = Film(path, n, (first.shape[1], first.shape[0]), self.sound(path), gap)
        if self._finder is None:
            film.no_track = "no_finder"
        else:
            film.faces, film.no_track = self._faces(path)
        return film

    def _sound(self, path: Path) -> Sound:
        from core import media

        try:
            samples, hole_s = media.read_sound(path)
        except Reject as reject:
            return Sound(None, reject.reason)
        return Sound(samples, no_sync="gap_in_sound" if hole_s > LONGEST_GAP_S else None)

    def _faces(self, path: Path) -> tuple[list[Seen], str]:
        """(the faces that are seen long enough to be judged, from left to right, the best one where none is; why there are none).
        Where the expert sees whole frames, the largest face alone, through the whole video; under a protocol that cuts at scene
        cuts, shot after shot."""
        from core import media
        from stages.segment import SHOT_SIDE, find_shots
        from stages.track import START_SCORE, follow

        cuts = find_shots(media.read_small_frames(path, SHOT_SIDE), SHOT_THRESHOLD)[1] if self.judge.protocol.cuts else []
        found, since, n = [], {}, 0
        for begin, end in zip([0, *cuts], [*cuts, None], strict=True):
            faces, n = follow(media.read_frames(path, start=begin, stop=end), self._finder, self.judge.mesh,
                              every=self._settings.every, iou_least=self._settings.iou, start_score=START_SCORE[self._kind])
            since |= {id(face): (begin, n) for face in faces}
            found += faces
        smooth, least = self._settings.smooth_frames, self.judge.config["min_windows"] + SYNCNET_FRAMES
        if self.judge.protocol.picture == "whole frame":
            found.sort(key=lambda f: (-f.side(), min(f.boxes)))
            steady = found and len(found[0].covered()) >= STEADY_SHARE * n
            return ([Seen(found[0].track(n, smooth), 0, None)] if steady else []), "face_lost" if found else "no_face"
        long = [f for f in found if len(f.covered()) >= least] or sorted(found, key=lambda f: -len(f.covered()))[:1]
        long.sort(key=lambda f: (since[id(f)], float(np.median([b[0] for b in f.boxes.values()]))))
        out = []
        for face in long:
            covered, (begin, n) = face.covered(), since[id(face)]
            first, last = covered[0], covered[-1] + 1
            whole = face.track(n, smooth)
            small = face.side() < self._settings.min_face_px
            why = "gap_in_track" if len(covered) < last - first else "face_too_small" if small else None
            out.append(Seen(replace(whole, boxes=whole.boxes[first:last], landmarks=whole.landmarks[first:last],
                                    meshed=whole.meshed[first:last]),
                            begin + first, why))
        return out, "no_face"


def view_of(expert: dict[str, Any] | None, params: Params | None) -> dict[str, Any]:
    """The view that an expert looks at: of params.yaml where that defines it, else SyncNet's own. UserError for another
    without."""
    name = expert["view"] if expert else "syncnet"
    if params is not None and name in params.crop.views:
        return params.crop.views[name].model_dump()
    if name == "syncnet":
        return {"kind": "syncnet", "size": 224}
    raise UserError(f"{expert['path']}: this expert looks at the view {name!r}, which only a params.yaml defines (crop.views); "
                    "run from the project's root, or name SyncNet's weights")


def _scaled(track: Any, size: tuple[int, int], base: tuple[int, int]) -> Any:
    """A track moved onto the same picture at another size (width, height)."""
    by = np.array(size) / np.array(base)
    return replace(track, boxes=((track.boxes + 0.5) * np.tile(by, 2) - 0.5).astype(np.float32),
                   landmarks=((track.landmarks + 0.5) * by - 0.5).astype(np.float32))


def with_controls(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, the real video that they refer to, and each real video beside the sound of another of its language, of the
    same speaker where there is one: without these no gap can be had, and nobody knows where the expert may judge. Nothing is
    listed twice."""
    entries = list(entries)
    given = {e.generated for e in entries if e.system == REAL and e.condition == "self"}
    real: dict[Path, Entry] = {e.generated: e for e in entries if e.generated in given and e.system == REAL
                               and e.condition == "self"}
    for e in entries:
        if e.reference is not None and e.reference not in real:
            real[e.reference] = Entry(e.reference_name, e.reference, language=e.language, speaker=e.speaker, system=REAL,
                                      transcript=e.transcript if e.condition == "self" else None)
    shuffled = []
    if not any(e.system == REAL and e.condition == "shuffled" for e in entries):
        for e in real.values():
            others = sorted((o for o in real.values() if o.language == e.language and o.generated != e.generated),
                            key=lambda o: (o.speaker is None or o.speaker != e.speaker, o.name <= e.name, o.name))
            if others:
                shuffled.append(replace(e, condition="shuffled", audio=others[0].generated, audio_name=others[0].name,
                                        audio_language=others[0].language, transcript=others[0].transcript))
    return [*entries, *(e for p, e in real.items() if p not in given), *shuffled]


def protocol_name(name: str) -> str:
    """The protocol's present name. KeyError as metrics.protocols.protocol."""
    from metrics.protocols import protocol

    return protocol(name).name


def protocols() -> list[Any]:
    """All protocols, in the order of their table."""
    from metrics.protocols import PROTOCOLS

    return list(PROTOCOLS.values())


def labels(rows: list[dict[str, Any]]) -> dict[str, str]:
    """What each column is called: LSE-D and LSE-C only where every row has the public weights."""
    from metrics.registry import METRICS
    from metrics.robustness import metric_label

    pinned = all(r["expert"] == "syncnet_v2" for r in rows)
    return {m.column: metric_label(m, pinned) for m in reversed(METRICS.values()) if m.column}


def scored_at_all(row: dict[str, Any]) -> bool:
    """Whether a row has any figure."""
    from stages.figures import METRICS

    return any(row[m] is not None for m in METRICS)


def json_text(rows: list[dict[str, Any]]) -> str:
    """The rows as JSON: a list, the column names of core.records' scores, keys sorted, the same bytes for the same rows."""
    return json.dumps(rows, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def beside(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The rows with every `path` as it is called from a folder, so that both can be moved together."""
    return [r if r["path"] is None else r | {"path": Path(os.path.relpath(r["path"], folder)).as_posix()} for r in rows]


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows as .json, .csv (lists as JSON) or .parquet, whole or not at all; `path` is written relative to that file."""
    from core.shards import write_bytes, write_table
    from report.plain import csv_text

    rows = beside(rows, path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_table(path, rows, "scores")
    elif path.suffix == ".json":
        write_bytes(path, json_text(rows).encode())
    else:
        flat = [{k: json.dumps(v) if isinstance(v, list) else v for k, v in r.items()} for r in rows]
        write_bytes(path, csv_text(flat, columns("scores")).encode())

"""Looks at every track before it is cut: how good the picture is, who speaks, when, in which language, and in step or not.

INSTANCE is a corpus and a language, such as synthetic-en. The picture is always measured; what needs an expert is null, with its
reason, where that expert is not named in the params or not here. A face that never speaks beside one that does is rejected.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.cells import filled, light_rows
from core.digest import digest_file, digest_of
from core.executor import Work, run_stage
from core.params import Params
from core.records import Reject, carry, columns
from core.shards import grouped, read_rows
from core.stage import UserError, out_folder, run_cli, seal
from core.timing import FPS
from core.tracks import load_track

EVERY = 5  # frames between two pictures whose quality is measured
SPEAKER = "light_asd"
VSHIFT, MIN_WINDOWS = 15, 20  # of the offset search, as scoring has them
Facts = tuple[dict[str, Any], dict[str, str]]  # columns of a row of `inspected`, and why others are null
ABOUT_SPEAKER = ("speaker_score", "speaking_share", "turn_share")


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished inspection: one item per track."""
    source = out_folder("download", instance)
    opened, weights = experts(params)
    fixed = params.inspect.model_dump() | {"min_mesh_share": params.track.min_mesh_share}
    config = fixed | opened | {"media": str(source / "media"), "threads": params.executor.codec_threads}
    sha = {r["recording_id"]: r["sha256"] for r in read_rows(source, "recordings", ["recording_id", "sha256"])}
    clips = {r["clip_id"]: r for r in light_rows(out_folder("segment", instance), "clips")}
    work = []
    for clip_id, tracks in grouped(light_rows(out_folder("track", instance), "tracks"), "clip_id"):
        clip = clips[clip_id]
        digest = digest_of([sha[clip["recording_id"]], clip, tracks])  # whose turn it is hangs on all faces of a clip
        work += [Work(t["track_id"], digest, {"clip": clip, "tracks": tracks, "track_id": t["track_id"]}, t) for t in tracks]
    return run_stage("inspect", instance, work, "stages.inspect:Mapper", config=config, tables=("inspected", "turns", "kept"),
                     fingerprint=seal("inspect", fixed, weights), n_shards=params.shards, executor=params.executor)


def experts(params: Params) -> tuple[dict[str, Any], dict[str, str]]:
    """(config entries, fingerprint marks) of the experts that the params ask for. UserError where one cannot be had."""
    from core.weights import WeightsMissing, find, use_folder
    from models.experts.diarization import pipeline_folder
    from models.experts.language import open_identifier

    asked, config, marks = params.inspect, {}, {}
    try:
        if asked.active_speaker != "none":
            found = find(SPEAKER, fetch=asked.active_speaker != "auto")
            config["speaker"], marks["speaker"] = str(found.path), f"{SPEAKER}:{found.sha256}"
    except WeightsMissing as error:
        if asked.active_speaker != "auto":
            raise UserError(f"inspect.active_speaker: {error}") from error
    try:
        if asked.diarization not in ("none", "clusters"):
            folder = pipeline_folder(asked.diarization)
            files = [p for p in sorted(folder.rglob("*")) if p.is_file()]
            config["pipeline"] = str(folder)
            marks["diarization"] = digest_of({p.relative_to(folder).as_posix(): digest_file(p) for p in files})
        if asked.language_identifier is not None:
            if asked.language_model is not None and Path(asked.language_model).is_dir():
                use_folder(asked.language_model)
            marks["identifier"] = open_identifier(asked.language_identifier, asked.language_model).name
    except (ValueError, WeightsMissing) as error:
        raise UserError(f"inspect: {error}") from error
    if asked.sync_expert is not None:
        from stages.judge import read_expert

        path = Path(asked.sync_expert.weights)
        if not path.is_file():
            raise UserError(f"inspect.sync_expert.weights: {path}: no such file; name the weights of a sync expert, or null")
        expert = read_expert(path)
        if expert["view"] not in params.crop.views:
            raise UserError(f"{path}: this expert looks at the view {expert['view']!r}, which params.crop.views does not define")
        config |= {"expert": expert, "view": params.crop.views[expert["view"]].model_dump()}
        marks |= {"sync": expert["sha256"], "view": digest_of(config["view"])}
    return config, marks


class Mapper:
    """Inspects one track. The faces of a clip are looked at together, so the last clip is remembered."""

    def __init__(self, config: dict[str, Any]):
        from core.views import ViewTemplate

        self._c = config
        self._last: tuple[str, dict[str, Any]] = ("", {})
        self._patch, self._face = ViewTemplate("box", 128), ViewTemplate("syncnet", 224)
        self._speaker = self._diarizer = self._identifier = self._sync = self._sync_view = None
        if config["diarization"] != "none":
            from models.experts.diarization import open_diarizer

            self._diarizer = open_diarizer(config["diarization"], Path(config["pipeline"]) if "pipeline" in config else None)
        if config["language_identifier"] is not None:
            from models.experts.language import open_identifier

            self._identifier = open_identifier(config["language_identifier"], config["language_model"])
        if "expert" in config:
            from core.weights import load_torch
            from models.experts.syncnet import open_sync

            self._sync_view = ViewTemplate(**config["view"])
            self._sync = open_sync("syncnet" if config["expert"]["network"] == "full" else "small",
                                   load_torch(Path(config["expert"]["path"])), self._sync_view.shape)

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        clip_id = payload["clip"]["clip_id"]
        if self._last[0] != clip_id:
            self._last = (clip_id, self._clip(filled(payload["clip"]), filled(payload["tracks"])))
        found = self._last[1][payload["track_id"]]
        if isinstance(found, Reject):
            raise found
        return found

    def _clip(self, clip: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
        """track id -> its rows by table, or the Reject that it earned."""
        from core import media
        from metrics.turns import find_turns

        samples = media.decode_flac(clip["audio"])
        speech = [(s["start_s"], s["end_s"]) for s in clip["speech"]]
        seen, scores = self._look(clip, rows, samples)
        turns = [] if scores is None else find_turns(scores, speech, self._c["turn_smooth_frames"])
        spoken = self._who(rows, scores, turns, speech)
        heard = self._sound(clip, samples, speech)
        shared = self._marks(clip, rows, [facts for facts, _ in spoken], heard[0])
        made: dict[str, Any] = {}
        for k, row in enumerate(rows):
            facts, why = {}, {}
            for one in (seen[k], spoken[k], heard):
                facts, why = facts | one[0], why | one[1]
            if self._is_silent(rows, facts):
                made[row["track_id"]] = Reject("silent_face", f"{row['track_id']}: {facts['turn_share']:.0%} of the speech is "
                                               "its own, the rest another face's; the least share is "
                                               f"{self._c['min_turn_share']:.0%}")
                continue
            facts |= {"marks": sorted(shared + self._own_marks(facts, shared)),
                      "null_reasons": [{"metric": m, "reason": r} for m, r in sorted(why.items())]}
            who = {"track_id": row["track_id"], "clip_id": row["clip_id"]}
            mine = [(a, b) for a, b, face in turns if face == k]
            made[row["track_id"]] = {
                "inspected": [dict.fromkeys(columns("inspected")) | carry(row, "inspected") | facts],
                "turns": [who | {"start_s": a, "end_s": b, "score": float(scores[k][_frames(a, b)].mean())} for a, b in mine],
                "kept": [who | {"n_samples": clip["n_samples"], "audio": None}]}
        self._put_in_step(clip, [t for t in made.values() if isinstance(t, dict)])
        return made

    def _asked(self, rows: list[dict[str, Any]]) -> bool:
        """Whether the speaker expert looks at these faces; it is opened when it first does, since most clips have one face."""
        if len(rows) < 2 and self._c["active_speaker"] == "auto":
            return False
        if self._speaker is None and self._c.get("speaker"):
            from core.weights import load_torch
            from models.experts.active_speaker import open_active_speaker

            self._speaker = open_active_speaker(load_torch(Path(self._c["speaker"])))
        return self._speaker is not None

    def _look(self, clip: dict[str, Any], rows: list[dict[str, Any]],
              samples: np.ndarray) -> tuple[list[Facts], np.ndarray | None]:
        """What the frames show of every track, and speaker scores (tracks, frames), None where no expert ran. Decodes once."""
        import cv2

        from core import media
        from core.mfcc import mfcc_syncnet
        from core.views import cut, view_transforms
        from models.experts.finder import s3fd_boxes

        tracks = [load_track(r) for r in rows]
        boxes = [s3fd_boxes(t.boxes, r["finder"]) for t, r in zip(tracks, rows, strict=True)]
        asked = self._asked(rows)
        patches, faces, crops = ([[] for _ in rows] for _ in range(3))
        small = [view_transforms(self._patch, t.boxes) for t in tracks]
        middle = [view_transforms(self._face, b) - np.array([[0, 0, 56], [0, 0, 56]]) for b in boxes] if asked else []
        sync = [self._sync_moves(t, b, r) for t, b, r in zip(tracks, boxes, rows, strict=True)]
        n = 0
        for f, frame in enumerate(media.read_frames(Path(self._c["media"]) / clip["file"], start=clip["start_frame"],
                                                    stop=clip["start_frame"] + clip["n_frames"], threads=self._c["threads"])):
            n = f + 1
            for k in range(len(rows)):
                if f % EVERY == 0:
                    patches[k].append(cv2.cvtColor(self._patch.cut(frame, small[k][f]), cv2.COLOR_RGB2GRAY))
                if asked:
                    faces[k].append(cv2.cvtColor(cut(frame, middle[k][f], 112, interpolation="linear"), cv2.COLOR_RGB2GRAY))
                if isinstance(sync[k], np.ndarray):
                    crops[k].append(self._sync_view.cut(frame, sync[k][f]))
        if n != clip["n_frames"]:
            raise Reject("decode_error", f"{clip['file']}: {n} of {clip['n_frames']} frames decoded")
        scores = None
        if asked:
            cepstra = mfcc_syncnet(samples)
            scores = np.stack([self._speaker.scores(np.stack(f), cepstra) for f in faces])
        found = []
        for k, (row, track) in enumerate(zip(rows, tracks, strict=True)):
            picture, step = _picture(np.stack(patches[k]), track, row, self._c), self._step(crops[k], samples, sync[k])
            found.append((picture[0] | step[0], picture[1] | step[1]))
        return found, scores

    def _who(self, rows: list[dict[str, Any]], scores: np.ndarray | None, turns: list[tuple[float, float, int]],
             speech: list[tuple[float, float]]) -> list[Facts]:
        """Per track, how much of the speech is its own."""
        from metrics.turns import smoothed

        if scores is None:
            alone = len(rows) < 2 and self._c["active_speaker"] == "auto"
            reason = "off" if self._c["active_speaker"] == "none" else "one_face" if alone else "no_weights"
            return [({}, dict.fromkeys(ABOUT_SPEAKER, reason)) for _ in rows]
        inside = _inside(speech, scores.shape[1])
        total = sum(b - a for a, b, _ in turns)
        if not inside.any() or not total:
            return [({}, dict.fromkeys(ABOUT_SPEAKER, "no_speech")) for _ in rows]
        level = smoothed(scores, self._c["turn_smooth_frames"])
        return [({"speaker_score": float(scores[k][inside].mean()), "speaking_share": float((level[k][inside] > 0).mean()),
                  "turn_share": sum(b - a for a, b, who in turns if who == k) / total, "speaker_expert": self._speaker.name}, {})
                for k in range(len(rows))]

    def _is_silent(self, rows: list[dict[str, Any]], facts: dict[str, Any]) -> bool:
        """Whether a face has too little of the speech beside another. What a system made is kept: that is for its score to
        say."""
        share = facts.get("turn_share")
        return len(rows) > 1 and share is not None and share < self._c["min_turn_share"] and rows[0]["kind"] != "generated"

    def _sync_moves(self, track: Any, boxes: np.ndarray, row: dict[str, Any]) -> np.ndarray | str:
        """The transforms of the sync expert's view, or why there is none."""
        from core.views import view_transforms

        if self._sync is None:
            return "no_expert"
        if self._sync_view.kind in ("mouth", "registration") and row["mesh_share"] < self._c["min_mesh_share"]:
            return "no_mesh"
        return view_transforms(self._sync_view, boxes if self._sync_view.kind == "syncnet" else track.boxes, track.landmarks)

    def _step(self, crops: list[np.ndarray], samples: np.ndarray, moves: np.ndarray | str) -> Facts:
        """The offset between sound and mouth."""
        names = ("offset_frames", "sync_confidence", "sync_distance")
        if isinstance(moves, str):
            return {}, dict.fromkeys(names, moves)
        from metrics.sync import lse
        from models.experts.syncnet import embed_clip

        try:
            score = lse(*embed_clip(self._sync, np.stack(crops), samples), vshift=VSHIFT, padded=False, min_windows=MIN_WINDOWS)
        except Reject as reject:
            return {}, dict.fromkeys(names, reject.reason)
        return {"offset_frames": score.offset_frames, "sync_confidence": score.lse_c, "sync_distance": score.lse_d,
                "sync_expert": self._c["expert"]["name"]}, {}

    def _sound(self, clip: dict[str, Any], samples: np.ndarray, speech: list[tuple[float, float]]) -> Facts:
        """What is the same for all faces of a clip: loudness, voices, language."""
        facts: dict[str, Any] = {"loudness_db": clip["loudness_db"],
                                 "speech_share": min(1.0, clip["speech_s"] * FPS / clip["n_frames"])}
        why: dict[str, str] = {}
        if self._diarizer is None:
            why["voices"] = "off"
        else:
            voices = self._diarizer.voices(samples, speech)
            facts |= {"voices": len({v for _, _, v in voices}), "diarizer": self._diarizer.name,
                      "voice_turns": [{"start_s": a, "end_s": b, "voice": v} for a, b, v in voices]}
        if self._identifier is None:
            why["spoken_language"] = "no_identifier"
            return facts, why
        from models.experts.language import spoken_language

        said = spoken_language(self._identifier, samples, speech, self._c["language_window_s"])
        facts |= {"identifier": self._identifier.name}
        if said.language is None:
            why["spoken_language"] = "too_short"
        else:
            facts |= {"spoken_language": said.language, "spoken_share": said.share, "second_share": said.second()}
        return facts, why

    def _marks(self, clip: dict[str, Any], rows: list[dict[str, Any]], spoken: list[dict[str, Any]],
               heard: dict[str, Any]) -> list[str]:
        """The marks that all faces of a clip share."""
        from models.experts.language import primary

        found = []
        mouths_seen = all(r["mesh_share"] >= self._c["min_mesh_share"] for r in rows)
        # 1 where it is not known: nobody is said to be silent who was not looked at
        if mouths_seen and max(s.get("speaking_share", 1.0) for s in spoken) < self._c["min_turn_share"]:
            found.append("voice_over")
        said, label = heard.get("spoken_language"), primary(clip["language"])
        if said is not None and label is not None and said != label:
            found.append("language_mismatch")
        if said is not None and heard["second_share"] >= self._c["switch_share"]:
            found.append("code_switched")
        return found

    def _own_marks(self, facts: dict[str, Any], shared: list[str]) -> list[str]:
        limit, confidence = self._c["dubbed_below"], facts.get("sync_confidence")
        dubbed = limit is not None and confidence is not None and confidence < limit and "voice_over" not in shared
        return ["dubbed"] if dubbed else []

    def _put_in_step(self, clip: dict[str, Any], kept: list[dict[str, Any]]) -> None:
        """Gives the kept tracks of a clip its sound shifted by the offset of the surest of them, where the params say so."""
        rows = [t["inspected"][0] for t in kept]
        sure = [r for r in rows if r["sync_confidence"] is not None and r["sync_confidence"] >= self._c["correct_confidence"]]
        if not self._c["correct_offset"] or not sure:
            return
        offset = max(sure, key=lambda r: r["sync_confidence"])["offset_frames"]
        for row in rows:
            row["corrected_frames"] = offset
        if offset:
            from core import media
            from core.sound import in_step

            recording = media.read_audio(Path(self._c["media"]) / clip["file"])
            sound = in_step(recording, clip["start_frame"], clip["n_frames"], offset)
            data = media.encode_flac(sound)
            for tables in kept:
                tables["kept"][0] |= {"n_samples": len(sound), "audio": data}


def _picture(patches: np.ndarray, track: Any, row: dict[str, Any], c: dict[str, Any]) -> Facts:
    """How good the picture of one face is."""
    from metrics import picture

    facts = {"sharpness": picture.sharpness(patches), **picture.light(patches), "occlusion": 1.0 - row["mesh_share"]}
    names = ("yaw_deg", "pitch_deg", "roll_deg")
    if row["mesh_share"] < c["min_mesh_share"]:
        return facts, dict.fromkeys(names, "no_mesh")
    turned = np.median(np.abs(picture.pose(track.landmarks[track.meshed])), axis=0)
    return facts | dict(zip(names, map(float, turned), strict=True)), {}


def _inside(speech: list[tuple[float, float]], n_frames: int) -> np.ndarray:
    """bool (T,): the frames in whose middle somebody speaks."""
    at = (np.arange(n_frames) + 0.5) / FPS
    return np.any([(at >= a) & (at < b) for a, b in speech], axis=0) if speech else np.zeros(n_frames, bool)


def _frames(start_s: float, end_s: float) -> slice:
    first = int(start_s * FPS)
    return slice(first, max(first + 1, int(end_s * FPS)))


if __name__ == "__main__":
    sys.exit(run_cli("inspect", main, doc=__doc__))

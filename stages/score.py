"""Scores generated video and controls: synchrony, picture similarity and lip landmarks, one row per generated row; and beside it
what the figures of sets (stages.sets) need of that row.

INSTANCE is one of params.train.systems, or `controls`. Views are cut from whole source frames, with the crop of the real track,
for real and generated video alike. A metric that cannot be computed is null, with its reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from core.cells import filled, light_rows
from core.digest import digest_of
from core.executor import Work, run_stage
from core.params import Params, WeightsFile
from core.records import carry
from core.shards import read_rows, unpack
from core.stage import UserError, out_folder, run_cli, seal
from core.timing import SAMPLES_PER_FRAME
from core.tracks import load_track


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished scoring."""
    work, config, mark = prepare(instance, params)
    return run_stage("score", instance, work, "stages.score:Mapper", config=config, tables=("scores", "embeddings"),
                     fingerprint=mark, n_shards=params.shards, executor=params.executor)


def prepare(instance: str, params: Params) -> tuple[list[Work], dict[str, Any], dict[str, Any]]:
    """(the items, the mapper's config, the fingerprint) of one scoring."""
    from core.choose import MESHES, choose
    from metrics.protocols import protocol
    from stages.judge import check_precision, networks, read_reader, sources

    expert, asked = find_expert(params), params.score
    check_precision(expert, asked.precision)
    reader = read_reader(asked, params.crop.views)
    needs, has = protocol(params.score.protocol).view, params.crop.views[expert["view"]].kind
    if needs not in (None, has):
        raise UserError(f"score.protocol {params.score.protocol}: it needs an expert that looks at a {needs} view, and "
                        f"{expert['path']} looks at {expert['view']!r}, a {has} view; name another protocol or expert")
    nets, net_marks = networks()
    generated = list(light_rows(out_folder("generate", instance), "generated"))
    tracks, clips = sources(params, generated)
    mesh, mesh_file = choose(tracked_mesh(tracks[r["track_id"]]["landmarker"] for r in generated) or params.track.landmarker, MESHES)
    shown = {t["recording_id"] for t in tracks.values()}
    truth = {r["recording_id"]: (r["gap"], r["phonemes"]) for who in params.instances()
             for r in light_rows(out_folder("download", who.name), "truth", ["recording_id", "gap", "phonemes"], ("recording_id", shown))}
    videos = {r["generated_id"]: r["video"] for r in generated}
    said = {} if reader is None else transcripts(params)
    sampled = {r["track_id"] for r in generated if r["sample"]}  # what figures of sets need of these is kept
    work = []
    for row in generated:
        track = tracks[row["track_id"]]
        gap, phonemes = truth.get(track["recording_id"], (None, None))
        payload = {"row": {k: v for k, v in row.items() if k != "video"}, "track": track, "audio": clips[row["audio_clip_id"]],
                   "video": videos[row["video_of"] or row["generated_id"]], "gap": gap, "phonemes": phonemes,
                   "sampled": row["track_id"] in sampled}
        if reader is not None:
            payload |= {"said": said.get((row["audio_clip_id"], row["n_frames"])), "spoken": row["audio_language"]}
        work.append(Work(row["generated_id"], digest_of(payload), payload, row))
    mark = {"expert": expert["sha256"], "landmarker": f"{mesh}:{mesh_file.sha256}", **net_marks}
    if reader is not None:
        mark["lip_reader"] = f"{reader['name']}:{digest_of(reader['view'])}"
    fixed = {**params.score.model_dump(exclude={"expert", "expert_valid_margin", "ablation_experts", "lip_reader_weights"}),
             "view": params.crop.views[expert["view"]].model_dump(), "smooth_frames": params.track.smooth_frames}
    config = fixed | nets | {"expert": expert, "mesh": (mesh, str(mesh_file.path)), "sound": "clip", "reader": reader,
                             "threads": params.executor.codec_threads}
    return work, config, seal("score", fixed, mark)


def transcripts(params: Params) -> dict[tuple[str, int], str]:
    """(clip id, frames) -> what is said in these frames, for clips that are the whole of a recording whose index says it. Which
    of the words a part of one has, nobody knows."""
    found = {}
    for who in params.instances():
        rows = read_rows(out_folder("download", who.name), "recordings", ["recording_id", "n_frames", "extra"])
        told = {r["recording_id"]: (r["n_frames"], json.loads(r["extra"] or "{}").get("transcript")) for r in rows}
        for clip in read_rows(out_folder("segment", who.name), "clips", ["clip_id", "recording_id", "start_frame", "n_frames"]):
            n_frames, transcript = told[clip["recording_id"]]
            if transcript and (clip["start_frame"], clip["n_frames"]) == (0, n_frames):
                found[clip["clip_id"], n_frames] = transcript
    return found


def tracked_mesh(landmarkers: Iterable[str | None]) -> str | None:
    """The kind of the face mesh that tracks were made with, from their column `landmarker` (`kind:sha256`); None where none says. A
    generated mouth is measured with the mesh of the real one: two meshes do not agree on what an open mouth is. UserError where the
    tracks are of several, or of one that is not known here."""
    from core.choose import MESHES

    kinds = sorted({name.partition(":")[0] for name in landmarkers if name})
    if len(kinds) > 1 or not set(kinds) <= set(MESHES):
        raise UserError(f"data/track: tracks of the face meshes {', '.join(kinds)}; expected one of {', '.join(MESHES)}, the same for all. "
                        "Set track.landmarker to it, then run `babelface build`; `babelface doctor` says what each was made with")
    return kinds[0] if kinds else None


def find_expert(params: Params) -> dict[str, Any]:
    """The sync expert that params.score names: see stages.judge.read_expert. UserError where it is not there or sees no known
    view."""
    from stages.judge import read_expert

    named = params.score.expert
    path = Path(named.weights) if isinstance(named, WeightsFile) else out_folder("train", named) / "model.pt"
    if not path.is_file():
        todo = "name one that is there" if isinstance(named, WeightsFile) else f"train it: babelface evaluate train-{named}; or name a file"
        raise UserError(f"{path}: no sync expert here; {todo} in score.expert.weights")
    found = read_expert(path)
    if found["view"] not in params.crop.views:
        raise UserError(f"{path}: this expert looks at the view {found['view']!r}, which params.crop.views does not define")
    return found


class Mapper:
    """Scores one generated row."""

    def __init__(self, config: dict[str, Any]):
        from stages.judge import Judge

        self._threads = config["threads"]
        self._judge = Judge(config)
        self._last: tuple[Any, Any] = None, None  # a video and its landmarks: a row of `shuffled` shows the one before it again

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import media
        from core.reel import Reel
        from stages.figures import Take, known_points
        from stages.judge import seen_frames
        from stages.set_figures import remains

        payload = filled(payload)
        row, at = payload["row"], payload["track"]
        track, n = load_track(at), row["n_frames"]
        same_words, generated = row["condition"] == "self", payload["video"] is not None
        video = row["video_of"] or row["generated_id"], n
        points = known_points(track, n) if not generated else self._last[1] if self._last[0] == video else None
        real = Path(at["media"]) / at["file"], at["start_frame"]
        shown, first = (payload["video"], 0) if generated else real

        def whole(video: Any, start: int) -> Reel:
            return Reel(lambda: media.read_frames(video, start=start, stop=start + n, threads=self._threads), n,
                        row["generated_id"])

        take = Take(frames=whole(shown, first), n_frames=n, samples=media.decode_flac(payload["audio"])[:n * SAMPLES_PER_FRAME],
                    face=track, finder=at["finder"], sync_frames=seen_frames(self._judge, shown, first, n, self._threads),
                    source=whole(*real) if generated and same_words else None,
                    # A real clip that says something else is no reference: only the same words may be compared.
                    no_source="is_the_reference" if not generated else "other_words",
                    points=points, sounds=payload["phonemes"],
                    first_frame=at["start_frame"], ask_lags=row["system"] == "real", said=payload.get("said"),
                    spoken=payload.get("spoken"))
        take.truth, take.no_truth = _truth(payload["gap"], at["start_frame"], n, same_words)
        scored = carry(row, "scores") | self._judge(take)
        self._last = video, take.points
        return {"scores": [scored], "embeddings": [remains(scored, take, lips=payload["sampled"])]}


def _truth(gap: bytes | None, start_frame: int, n: int, same_words: bool) -> tuple[np.ndarray | None, str]:
    """The rendered opening of n frames, or None and why."""
    true = None if gap is None else unpack(gap, np.float32, (-1,))[start_frame:start_frame + n]
    if true is None or len(true) != n:
        return None, "no_truth"
    return (true, "") if same_words else (None, "other_words")


if __name__ == "__main__":
    sys.exit(run_cli("score", main, doc=__doc__))

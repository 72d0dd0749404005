"""Makes the videos that are scored: one trained system over all test clips and conditions, or the controls.

INSTANCE is a key of train.systems in params.yaml, or `controls`. Conditions of a system: self (the clip's own sound), cross-audio
(another clip of its language), cross-language (a clip of another language), and `shuffled`: the video of self beside another
clip's sound. Controls: the real video, the real video beside another clip's sound, and the first frame standing still. The face
is generated in the system's view and pasted back into the source frames, because that is what is scored.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from core.cells import filled, light_rows
from core.digest import digest_of
from core.executor import Work, run_stage
from core.licences import UNSTATED, Used, check
from core.params import Params
from core.records import carry
from core.reel import Reel
from core.shards import read_json, unpack
from core.sound import light_sounds
from core.stage import UserError, out_folder, run_cli, seal
from core.timing import n_samples_for_frames

CONTROLS = "controls"
TRACK_COLUMNS = ["track_id", "clip_id", "recording_id", "corpus", "language", "speaker", "cluster", "kind", "file", "start_frame",
                 "n_frames", "landmark_unit"]
FACE_COLUMNS = ["boxes", "landmarks", "meshed"]


def main(name: str, params: Params) -> dict[str, Any]:
    """The stats of one finished generation: one item per test track, several rows per item."""
    path = out_folder("train", name) / "card.json"
    if name != CONTROLS and not path.is_file():
        raise UserError(f"{path}: no trained system here; run: babelface evaluate train-{name}")
    tracks, beyond = test_tracks(params, ("test", "generated") if name == CONTROLS else ("test",))
    card = None if name == CONTROLS else read_json(path)
    if card is not None:
        check(Used(f"model {name}", card.get("licence", UNSTATED), card.get("commercial")))
    wanted = _wanted(params, name)
    partners = {t["track_id"]: {c: partner(t, tracks, c, params.generate.seed) for c in wanted if c != "self"} for t in tracks}
    sound = _sound(params, tracks, None if card is None else card["feature"])
    shown = {t["recording_id"] for t in tracks}
    sha = {(i.corpus, i.language, r["recording_id"]): r["sha256"] for i in params.instances()
           for r in light_rows(out_folder("download", i.name), "recordings", ["recording_id", "sha256"], ("recording_id", shown))}
    work = []
    for track in tracks:
        chosen = {c: p for c, p in partners[track["track_id"]].items() if p is not None}
        clips = {c: {k: p[k] for k in ("clip_id", "language", "n_frames")} | sound[p["track_id"]]
                 for c, p in (chosen | {"self": track}).items()}
        payload = {"track": track, "sounds": clips, "instance": f"{track['corpus']}-{track['language']}"}
        depends = [track, sha[track["corpus"], track["language"], track["recording_id"]], clips]
        work.append(Work(track["track_id"], digest_of(depends), payload, track))
    fixed = {"name": name, "wanted": wanted, "crf": params.generate.crf, "feather_px": params.generate.paste_feather_px,
             "samples": params.generate.samples, "seed": params.generate.seed, "threads": params.executor.codec_threads}
    extra: tuple[str, ...] = ()
    if card is not None:
        view = params.crop.views[card["view"]].model_dump()
        fixed |= {"view": view, "torch_threads": params.train.torch_threads}
        extra = (card["class"].partition(":")[0].replace(".", "/") + ".py",)
    config = fixed | {"downloads": str(Path("data") / "download"), "model": str(out_folder("train", name))}
    return run_stage("generate", name, work, "stages.generate:Mapper", config=config, tables=("generated",),
                     fingerprint=seal("generate", fixed, weights={} if card is None else {name: card["sha256"]}, extra=extra),
                     n_shards=params.shards, executor=params.executor,
                     rejected=beyond)


def _wanted(params: Params, name: str) -> list[str]:
    """The conditions of this instance. Every system has its shuffled row: the control of its own score."""
    if name == CONTROLS:
        return ["self", *(c for c in ("shuffled", "still") if c in params.generate.controls)]
    return [*params.generate.conditions, "shuffled"]


def test_tracks(params: Params, splits: tuple[str, ...] = ("test",)
                ) -> tuple[list[dict[str, Any]], list[tuple[dict[str, Any], str, str]]]:
    """(rows of the tracks to generate for, their bytes as cells; the test tracks left out with a reason), sorted by track.

    At most generate.clips_per_speaker of each speaker and language; which ones is decided by a hash, not by their order.
    """
    names = ["track_id", "split", "fold", "cluster"]
    of = {r["track_id"]: r for r in light_rows(out_folder("split", "all"), "splits", names, ("split", splits))}
    # The cluster is the split's: it may know speakers apart that the index does not.
    rows = [row | {k: of[row["track_id"]][k] for k in ("fold", "cluster")} for i in params.instances()
            for row in light_rows(out_folder("track", i.name), "tracks", TRACK_COLUMNS, ("track_id", of))]
    by_speaker: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda r: _lot(params.generate.seed, "clip", r["track_id"])):
        by_speaker.setdefault((row["corpus"], row["language"], row["cluster"]), []).append(row)
    limit = params.generate.clips_per_speaker
    chosen = sorted((r for some in by_speaker.values() for r in some[:limit]), key=lambda r: r["track_id"])
    if not chosen:
        raise UserError("no test track; see data/split/all/stats.json, and change split.test_share or corpora.*.speakers")
    faces = {r["track_id"]: r for i in params.instances()
             for r in light_rows(out_folder("track", i.name), "tracks", ["track_id", *FACE_COLUMNS],
                                 ("track_id", {c["track_id"] for c in chosen}))}
    beyond = [({"item_id": r["track_id"], **{k: r[k] for k in ("corpus", "language", "speaker")}}, "beyond_limit",
               f"generate.clips_per_speaker is {limit}") for some in by_speaker.values() for r in some[limit:]]
    return [r | faces[r["track_id"]] for r in chosen], sorted(beyond, key=lambda b: b[0]["item_id"])


def partner(track: dict[str, Any], tracks: list[dict[str, Any]], condition: str, seed: int) -> dict[str, Any] | None:
    """The test track whose sound `track` gets in a condition, or None where there is none.

    Same language for cross-audio and shuffled, another one that is not planted for cross-language; never the same recording.
    Tracks at least as long come first, then longer before shorter. Of those, for shuffled, the speaker's own: then only the words
    differ, where another voice would bring its own level of every sync measure, which is larger than what is to be measured. A
    seeded hash decides between equals, so that another clip in the corpus changes the partner of few.
    """
    if condition == "still":
        return None

    def fits(other: dict[str, Any]) -> bool:
        if other.get("kind") == "generated" or (other["recording_id"] == track["recording_id"]
                                                and other["language"] == track["language"]):
            return False
        if condition == "cross-language":
            return other["language"] != track["language"] and other["fold"] != "planted"
        return other["language"] == track["language"] and other["corpus"] == track["corpus"]

    def rank(other: dict[str, Any]) -> tuple[int, bool, str]:
        stranger = condition == "shuffled" and other["cluster"] != track["cluster"]
        return -min(other["n_frames"], track["n_frames"]), stranger, _lot(seed, condition, track["track_id"], other["track_id"])

    return min(filter(fits, tracks), key=rank, default=None)


def _lot(seed: int, *words: str) -> str:
    return hashlib.sha256("/".join([str(seed), *words]).encode()).hexdigest()


def _sound(params: Params, tracks: list[dict[str, Any]], feature: str | None) -> dict[str, dict[str, Any]]:
    """track id -> its clip's FLAC, and its audio feature where a system is driven by one; both cells."""
    heard, shown = {t["clip_id"] for t in tracks}, {t["track_id"] for t in tracks}
    flac, features = {}, {}
    for i in params.instances():
        for clip_id, row in light_sounds(i.name, heard).items():
            flac[i.corpus, i.language, clip_id] = row["audio"]
        if feature is not None:
            for row in light_rows(out_folder("features", i.name), "features", ["track_id", feature], ("track_id", shown)):
                features[row["track_id"]] = row[feature]
    return {t["track_id"]: {"audio": flac[t["corpus"], t["language"], t["clip_id"]], "feature": features.get(t["track_id"])}
            for t in tracks}


class Mapper:
    """All rows of one test track."""

    def __init__(self, config: dict[str, Any]):
        self._c = config
        if config["name"] == CONTROLS:
            return
        import torch

        from core.views import ViewTemplate
        from models.systems.base import make_system

        torch.set_num_threads(config["torch_threads"])
        self._card = read_json(Path(config["model"]) / "card.json")
        self._template = ViewTemplate(**config["view"])
        self._system = make_system(self._card["class"].partition(":")[0].rpartition(".")[2], **self._card["options"])
        self._system.load_state_dict(torch.load(Path(config["model"]) / "model.pt", map_location="cpu", weights_only=True))
        self._system.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import media

        payload = filled(payload)
        track = payload["track"]
        path = Path(self._c["downloads"]) / payload["instance"] / "media" / track["file"]
        frames = Reel(lambda: media.read_frames(path, start=track["start_frame"], stop=track["start_frame"] + track["n_frames"],
                                                threads=self._c["threads"]), track["n_frames"], track["track_id"])
        make = self._controls if self._c["name"] == CONTROLS else self._made
        return {"generated": make(track, payload["sounds"], frames)}

    def _controls(self, track: dict[str, Any], sounds: dict[str, Any], frames: Reel) -> list[dict[str, Any]]:
        # A corpus may bring videos that some other system made: they are scored as they are, beside the real ones.
        shown = "given" if track["kind"] == "generated" else "real"
        rows = [self._row(track, shown, "self", sounds["self"])]
        if "shuffled" in sounds:
            rows.append(self._row(track, shown, "shuffled", sounds["shuffled"]))
        first = None
        for frame in frames:  # all of them: a clip that cannot be read is no control
            first = frame if first is None else first
        if shown == "real" and "still" in self._c["wanted"]:
            video = self._encode((first for _ in range(track["n_frames"])), track["n_frames"], sounds["self"])
            rows.append(self._row(track, "still", "self", sounds["self"], video=video))
        return rows

    def _made(self, track: dict[str, Any], sounds: dict[str, Any], frames: Reel) -> list[dict[str, Any]]:
        from core.tracks import load_track
        from core.views import view_transforms

        face = load_track(track)
        moves = view_transforms(self._template, face.boxes, face.landmarks)
        rows = []
        for condition in [c for c in self._c["wanted"] if c in sounds and c != "shuffled"]:
            sound = sounds[condition]
            n_frames = min(track["n_frames"], sound["n_frames"])
            for sample in range(self._c["samples"] if self._system.spec.sampled else 1):
                video = self._encode(self.generate(frames, n_frames, moves, sound, sample), n_frames, sound)
                rows.append(self._row(track, self._c["name"], condition, sound, sample=sample, video=video))
                if condition == "self" and "shuffled" in sounds:
                    rows.append(self._row(track, self._c["name"], "shuffled", sounds["shuffled"], sample=sample,
                                          video_of=rows[-1]["generated_id"]))
        return rows

    def generate(self, frames: Any, n_frames: int, moves: np.ndarray, sound: dict[str, Any], sample: int) -> Iterator[np.ndarray]:
        """The first `n_frames` whole source frames with the generated face pasted in. `frames` are those of the whole clip, gone
        through twice; stills come from fixed places in them (spread_stills).

        The stills show the speaker's true mouth at other moments, and the same ones serve all frames and all conditions, so they
        cannot tell the system which mouth belongs to a frame.
        """
        from core.views import paste
        from models.systems.base import Inputs
        from models.windows import FEATURE_COLUMNS, cut_windows, spread_stills

        spec = self._system.spec
        audio = None
        if spec.feature is not None:
            audio = unpack(sound["feature"], np.float32, (-1, FEATURE_COLUMNS[spec.feature]))
            audio = audio if spec.window is None else cut_windows(audio, spec.window, np.arange(n_frames))
        shown = {"stills": spread_stills(len(frames), spec.n_stills), "first": [0]}.get(spec.image)
        driven = range(n_frames) if spec.image == "source" or "video" in spec.drive else range(0)
        wanted = {*driven, *map(int, () if shown is None else shown)}
        cut = {f: self._template.cut(frame, moves[f]) for f, frame in enumerate(frames) if f in wanted}
        views = np.stack([cut[f] for f in driven]) if driven else None
        stills = None if shown is None else np.stack([cut[int(f)] for f in shown])
        made = self._system.generate(Inputs(n_frames, audio=audio, stills=stills, source=views, driver=views,
                                            seed=self._c["seed"] + sample))
        top, left = self._system.margin
        shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64)  # view pixels to pixels of the generated face
        for f, (frame, face) in enumerate(zip(islice(frames, n_frames), made, strict=True)):
            move = (shift @ np.vstack([moves[f], [0, 0, 1]]))[:2]
            yield paste(frame, face, move, mask="feather", feather_px=self._c["feather_px"])

    def _encode(self, frames: Iterable[np.ndarray], n_frames: int, sound: dict[str, Any]) -> bytes:
        from core import media

        samples = media.decode_flac(sound["audio"])[:n_samples_for_frames(n_frames)]
        return media.encode_video(frames, crf=self._c["crf"], audio=samples)

    def _row(self, track: dict[str, Any], system: str, condition: str, sound: dict[str, Any], *, sample: int = 0,
             video: bytes | None = None, video_of: str | None = None) -> dict[str, Any]:
        made = self._c["name"] != CONTROLS
        return carry(track, "generated") | {
            "generated_id": f"{track['track_id']}.{system}.{condition}.{sample}", "system": system, "condition": condition,
            "training": self._c["name"] if made else None, "training_languages": self._card["languages"] if made else [],
            "audio_clip_id": sound["clip_id"], "audio_language": sound["language"], "sample": sample, "video": video,
            "video_of": video_of, "n_frames": min(track["n_frames"], sound["n_frames"])}


if __name__ == "__main__":
    sys.exit(run_cli("generate", main, doc=__doc__))

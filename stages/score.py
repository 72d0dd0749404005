"""Scores generated video and controls: synchrony, picture similarity and lip landmarks, one row per generated row.

INSTANCE is one of params.train.systems, or `controls`. Views are cut from whole source frames, with the crop of the real track, for
real and generated video alike. A metric that cannot be computed is null, with its reason.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.digest import digest_of
from core.executor import Work, run_stage
from core.params import Params, WeightsFile
from core.records import Reject, carry
from core.shards import read_json, read_rows, unpack
from core.stage import UserError, out_folder, run_cli, seal
from core.tracks import N_LANDMARKS, load_track, smooth_points

MESHES = {"mediapipe": "face_landmarker", "opencv": "mesh"}
METRICS = ("lse_d", "lse_c", "offset_frames", "n_windows", "mean_dist", "ssim", "psnr", "landmark_distance", "opening_correlation",
           "truth_opening_correlation")
COMPARED = ("ssim", "psnr", "landmark_distance", "opening_correlation")  # with the real clip
FACE_SCALE = 1.3  # SSIM and PSNR are taken in a square this much larger than the face's box, the same for every system


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished scoring."""
    from core.choose import choose

    expert = find_expert(params)
    mesh, mesh_file = choose(params.track.landmarker, MESHES)
    generated = read_rows(out_folder("generate", instance), "generated")
    tracks, clips, truth, sha = {}, {}, {}, {}
    for who in params.instances():
        source = out_folder("download", who.name)
        sha |= {(who.name, r["recording_id"]): r["sha256"] for r in read_rows(source, "recordings", ["recording_id", "sha256"])}
        truth |= {r["recording_id"]: r["gap"] for r in read_rows(source, "truth", ["recording_id", "gap"])}
        tracks |= {r["track_id"]: r | {"media": str(source / "media"), "sha256": sha[who.name, r["recording_id"]]}
                   for r in read_rows(out_folder("track", who.name), "tracks")}
        clips |= {r["clip_id"]: r["audio"] for r in read_rows(out_folder("segment", who.name), "clips", ["clip_id", "audio"])}
    videos = {r["generated_id"]: r["video"] for r in generated}
    work = []
    for row in generated:
        track = tracks[row["track_id"]]
        payload = {"row": {k: v for k, v in row.items() if k != "video"}, "track": track, "audio": clips[row["audio_clip_id"]],
                   "video": videos[row["video_of"] or row["generated_id"]], "gap": truth.get(track["recording_id"])}
        work.append(Work(row["generated_id"], digest_of(payload), payload, row))
    mark = {"expert": expert["sha256"], "landmarker": f"{mesh}:{mesh_file.sha256}"}
    fixed = {**params.score.model_dump(exclude={"expert", "expert_valid_margin"}), "view": params.crop.views[expert["view"]].model_dump(),
             "smooth_frames": params.track.smooth_frames}
    config = fixed | {"expert": expert, "mesh": (mesh, str(mesh_file.path)), "threads": params.executor.codec_threads}
    return run_stage("score", instance, work, "stages.score:Mapper", config=config, tables=("scores",),
                     fingerprint=seal("score", fixed, mark), n_shards=params.shards, workers=params.executor.workers,
                     timeout_s=params.executor.timeout_s)


def find_expert(params: Params) -> dict[str, Any]:
    """The sync expert that params.score names: path, sha256, network, input_size, view and name (LSE-D only for the public weights)."""
    from core.weights import known_name, use_file

    named = params.score.expert
    path = Path(named.weights) if isinstance(named, WeightsFile) else out_folder("train", named) / "model.pt"
    if not path.is_file():
        raise UserError(f"{path}: no sync expert here; train one (`babelface build`), or name a file in score.expert.weights")
    found = use_file(path)
    card_path = path.with_name("card.json")
    card = read_json(card_path) if card_path.is_file() else {}
    network = card.get("width", "full")
    view = card.get("view", "syncnet")
    if view not in params.crop.views:
        raise UserError(f"{path}: this expert looks at the view {view!r}, which params.crop.views does not define")
    public = known_name(found.sha256) == "syncnet_v2"
    return {"path": str(path), "sha256": found.sha256, "network": network, "view": view,
            "name": "syncnet_v2" if public else f"{network}:{found.sha256[:8]}"}


class Mapper:
    """Scores one generated row."""

    def __init__(self, config: dict[str, Any]):
        import torch

        from core.views import ViewTemplate
        from core.weights import load_torch
        from models.experts.landmarks import open_landmarker
        from models.experts.syncnet import open_sync

        torch.set_num_threads(1)
        self._c = config
        self._template = ViewTemplate(**config["view"])
        self._expert = open_sync("syncnet" if config["expert"]["network"] == "full" else "small",
                                 load_torch(Path(config["expert"]["path"])), self._template.shape)
        # All that must match before two scores may be compared, beside the expert and the finder, which have columns of their own.
        height, width = self._template.shape
        self._protocol = (f"{config['protocol']}(view={self._template.kind} {width}x{height}, vshift={config['vshift']}, "
                          f"min_windows={config['min_windows']})")
        self._mesh = open_landmarker(Path(config["mesh"][1]), config["mesh"][0])

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import audio, media

        row, at = payload["row"], payload["track"]
        track = load_track(at)
        n = row["n_frames"]
        same_words = row["condition"] == "self"
        source = shown = None
        if payload["video"] is None or same_words:
            source = list(media.read_frames(Path(at["media"]) / at["file"], start=at["start_frame"], stop=at["start_frame"] + n,
                                            threads=self._c["threads"]))
        shown = source if payload["video"] is None else list(media.read_frames(payload["video"], threads=self._c["threads"]))
        if len(shown) < n or (source is not None and len(source) < n):
            raise Reject("decode_error", f"{row['generated_id']}: {len(shown)} frames, {n} expected")
        samples = media.decode_flac(payload["audio"])[:n * 640]
        values: dict[str, Any] = dict.fromkeys(METRICS)
        why: dict[str, str] = {}
        self._sync(shown[:n], samples, track, values, why)
        points = None
        if payload["video"] is None:
            why |= dict.fromkeys(COMPARED, "is_the_reference")
            points = track.landmarks[:n]
        elif not same_words:
            # The real clip says something else: only the same words may be compared.
            why |= dict.fromkeys(COMPARED, "other_words")
        else:
            self._picture(source[:n], shown[:n], track, values)
            points = self._lips(shown[:n], track, values, why)
        self._truth(payload["gap"], at["start_frame"], points, row, values, why)
        return {"scores": [carry(row, "scores") | values | {
            "protocol": self._protocol, "expert": self._c["expert"]["name"], "expert_sha256": self._c["expert"]["sha256"],
            "finder": at["finder"], "loudness_db": audio.loudness_db(samples),
            "null_reasons": [{"metric": m, "reason": r} for m, r in sorted(why.items())]}]}

    def _sync(self, frames, samples, track, values, why) -> None:
        """LSE and offset, on the crop of the real track."""
        from core.views import view_transforms
        from metrics.sync import lse
        from models.experts.syncnet import embed_clip

        if self._template.kind == "mouth" and track.meshed.mean() < 0.5:
            why |= dict.fromkeys(("lse_d", "lse_c", "offset_frames", "n_windows", "mean_dist"), "no_mesh")
            return
        moves = view_transforms(self._template, track.boxes, track.landmarks)
        crops = np.stack([self._template.cut(f, m) for f, m in zip(frames, moves, strict=False)])
        try:
            found = lse(*embed_clip(self._expert, crops, samples), vshift=self._c["vshift"], padded=False,
                        min_windows=self._c["min_windows"])
        except Reject as reject:
            why |= dict.fromkeys(("lse_d", "lse_c", "offset_frames", "n_windows", "mean_dist"), reject.reason)
            return
        values |= {"lse_d": found.lse_d, "lse_c": found.lse_c, "offset_frames": int(found.offset_frames), "n_windows": found.n_windows,
                   "mean_dist": [float(m) for m in found.mean_dist]}

    def _picture(self, source, shown, track, values) -> None:
        """SSIM and PSNR in one square around the face, the same pixels for every system."""
        from metrics.image import crop, psnr, ssim

        centre, half = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2, (track.boxes[:, 2:] - track.boxes[:, :2]).max(1) / 2
        pairs = []
        for f, (a, b) in enumerate(zip(source, shown, strict=True)):
            box = np.concatenate([centre[f] - FACE_SCALE * half[f], centre[f] + FACE_SCALE * half[f]])
            pairs.append((crop(a, box), crop(b, box)))
        values["ssim"] = float(np.mean([ssim(a, b) for a, b in pairs]))
        values["psnr"] = float(np.mean([psnr(a, b) for a, b in pairs]))

    def _lips(self, shown, track, values, why) -> np.ndarray | None:
        """Lip landmarks of the generated face, looked for where the real face is, against the real ones."""
        from metrics.landmarks import landmark_distance, mouth_opening, opening_correlation

        found: list[np.ndarray | None] = []
        for frame, box in zip(shown, track.boxes, strict=False):
            found.append(self._mesh.points(frame, box, found[-1] if found else None)[0])
        if sum(p is None for p in found) > 0.1 * len(found):
            why |= dict.fromkeys(("landmark_distance", "opening_correlation"), "no_mesh")
            return None
        known = [i for i, p in enumerate(found) if p is not None]
        nearest = np.abs(np.arange(len(found))[:, None] - np.array(known)).argmin(1)
        points = smooth_points(np.stack([found[known[i]][:N_LANDMARKS] for i in nearest]), self._c["smooth_frames"])
        real = track.landmarks[:len(points)]
        values["landmark_distance"] = float(landmark_distance(real, points))
        values["opening_correlation"], reason = opening_correlation(mouth_opening(real), mouth_opening(points))
        if reason:
            why["opening_correlation"] = reason
        return points

    def _truth(self, gap, start_frame, points, row, values, why) -> None:
        """How well the shown mouth follows the corpus's own truth, where there is one."""
        from metrics.landmarks import mouth_opening, opening_correlation

        name = "truth_opening_correlation"
        if gap is None or points is None or row["condition"] != "self":
            why[name] = "no_truth" if gap is None else "other_words" if row["condition"] != "self" else "no_mesh"
            return
        true = unpack(gap, np.float32, (-1,))[start_frame:start_frame + len(points)]
        if len(true) != len(points):
            why[name] = "no_truth"
            return
        values[name], reason = opening_correlation(true, mouth_opening(points))
        if reason:
            why[name] = reason


if __name__ == "__main__":
    sys.exit(run_cli("score", main, doc=__doc__))

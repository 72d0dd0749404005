"""Lets another expert score real video and its shuffled control, so that its bias can stand beside that of the report's expert.

INSTANCE is one of params.score.ablation_experts, such as an expert that learnt one language only. Same protocol, same clips, only
the expert's figures; nothing of it enters any other score.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from core.cells import filled, light_rows
from core.digest import digest_of
from core.executor import Work, run_stage
from core.params import Params
from core.records import carry
from core.stage import UserError, out_folder, run_cli, seal
from core.timing import SAMPLES_PER_FRAME
from core.tracks import load_track

CONTROLS = "controls"


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one expert's scoring of real video."""
    from stages.judge import read_expert, sources

    path = out_folder("train", instance) / "model.pt"
    if not path.is_file():
        raise UserError(f"{path}: no expert here; train it first: babelface evaluate train-{instance}")
    expert = read_expert(path)
    if expert["view"] not in params.crop.views:
        raise UserError(f"{path}: this expert looks at the view {expert['view']!r}, which params.crop.views does not define")
    rows = [{k: v for k, v in row.items() if k != "video"}
            for row in light_rows(out_folder("generate", CONTROLS), "generated", where=("system", ("real",)))
            if row["condition"] in ("self", "shuffled")]
    tracks, clips = sources(params, rows)
    work = []
    for row in rows:
        payload = {"row": row, "track": tracks[row["track_id"]], "audio": clips[row["audio_clip_id"]]}
        work.append(Work(row["generated_id"], digest_of(payload), payload, row))
    fixed = {"protocol": params.score.protocol, "vshift": params.score.vshift, "min_windows": params.score.min_windows,
             "view": params.crop.views[expert["view"]].model_dump(),
             "precision": params.score.precision if expert["network"] == "full" else "float32"}
    config = fixed | {"expert": expert, "mesh": None, "smooth_frames": 1, "sound": "clip",
                      "threads": params.executor.codec_threads}
    return run_stage("bias", instance, work, "stages.bias:Mapper", config=config, tables=("scores",),
                     fingerprint=seal("bias", fixed, {"expert": expert["sha256"]}), n_shards=params.shards,
                     executor=params.executor)


class Mapper:
    """Scores one row of real video by the expert alone."""

    def __init__(self, config: dict[str, Any]):
        from stages.judge import Judge

        self._threads = config["threads"]
        self._judge = Judge(config)

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import media
        from stages.figures import SYNC, Take, Unscored, sync
        from core.reel import Reel
        from stages.judge import seen_frames

        payload = filled(payload)
        row, at = payload["row"], payload["track"]
        path, start, n = Path(at["media"]) / at["file"], at["start_frame"], row["n_frames"]
        samples = media.decode_flac(payload["audio"])[:n * SAMPLES_PER_FRAME]
        frames = Reel(lambda: media.read_frames(path, start=start, stop=start + n, threads=self._threads), n)
        take = Take(frames=frames, n_frames=n, samples=samples, face=load_track(at), finder=at["finder"],
                    sync_frames=seen_frames(self._judge, path, start, n, self._threads), ask_lags=True)
        values: dict[str, Any] = dict.fromkeys(SYNC)
        why: list[dict[str, str]] = []
        try:
            values |= sync(self._judge, take)
        except Unscored as unscored:
            why = [{"metric": name, "reason": unscored.reason} for name in sorted(SYNC)]
        expert = self._judge.config["expert"]
        return {"scores": [carry(row, "scores") | values | {
            "protocol": self._judge.describe(at["finder"]), "expert": expert["name"], "expert_sha256": expert["sha256"],
            "finder": at["finder"],
            "null_reasons": why}]}


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_cli("bias", main, doc=__doc__))

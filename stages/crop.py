"""Cuts the stored views out of the source frames: one aligned crop per frame and template of params.crop.views.

INSTANCE is a corpus and a language, such as synthetic-en. Only the views in crop.store are kept, as JPEG frames that training reads
at random; scoring cuts its own from the source.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.cells import filled, light_rows
from core.digest import digest_of
from core.executor import Work, run_stage
from core.params import Params
from core.records import Reject, carry
from core.shards import pack, read_rows
from core.sound import kept_tracks
from core.stage import out_folder, run_cli, seal
from core.tracks import load_track

MESHED = ("registration", "mouth")  # kinds of view that are aligned by landmarks


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished cropping."""
    views = {name: params.crop.views[name].model_dump() for name in params.crop.store}
    fixed = {"views": views, "min_mesh_share": params.track.min_mesh_share, "jpeg_quality": params.crop.jpeg_quality}
    config = fixed | {"media": str(out_folder("download", instance) / "media"), "threads": params.executor.codec_threads}
    sha = {r["recording_id"]: r["sha256"] for r in read_rows(out_folder("download", instance), "recordings", ["recording_id", "sha256"])}
    tracks = light_rows(out_folder("track", instance), "tracks", where=("track_id", kept_tracks(instance)))
    work = [Work(r["track_id"], digest_of([sha[r["recording_id"]], r]), r, r) for r in tracks]
    return run_stage("crop", instance, work, "stages.crop:Mapper", config=config, tables=("views",), fingerprint=seal("crop", fixed),
                     n_shards=params.shards, executor=params.executor)


class Mapper:
    """Cuts all stored views of one track in one pass over its frames."""

    def __init__(self, config: dict[str, Any]):
        from core.views import ViewTemplate

        self._c = config
        self._templates = {name: ViewTemplate(**view) for name, view in config["views"].items()}

    def __call__(self, row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from core import media
        from core.views import view_transforms
        from models.experts.finder import s3fd_boxes

        row = filled(row)
        track = load_track(row)
        boxes = {"syncnet": s3fd_boxes(track.boxes, row["finder"])}  # that view's scale is in S3FD's boxes
        if row["mesh_share"] < self._c["min_mesh_share"] and any(t.kind in MESHED for t in self._templates.values()):
            raise Reject("no_mesh", f"{row['track_id']}: the mesh fits in {row['mesh_share']:.0%} of the frames; "
                         f"the least share is {self._c['min_mesh_share']:.0%}")
        moves = {name: view_transforms(t, boxes.get(t.kind, track.boxes), track.landmarks) for name, t in self._templates.items()}
        frames: dict[str, list[bytes]] = {name: [] for name in moves}
        source = media.read_lazy_frames(Path(self._c["media"]) / row["file"], start=row["start_frame"],
                                        stop=row["start_frame"] + row["n_frames"], threads=self._c["threads"])
        for f, frame in enumerate(source):
            for name, template in self._templates.items():
                view = template.cut(frame, moves[name][f])
                frames[name].append(media.encode_jpeg(view, self._c["jpeg_quality"]))
        rows = []
        for name, template in sorted(self._templates.items()):
            height, width = template.shape
            rows.append(carry(row, "views") | {"view": name, "height": height, "width": width, "n_frames": len(frames[name]),
                                               "transforms": pack(moves[name].astype(np.float32)), "frames": frames[name]})
        return {"views": rows}


if __name__ == "__main__":
    sys.exit(run_cli("crop", main, doc=__doc__))

"""Figures of sets of clips, not of one: FID, FVD, retrieval between sound and picture, and diversity over samples.

INSTANCE is one of params.train.systems, or `controls`. A set is what one system made in one condition and language. Pictures are
read again only where a network for them is on this machine; the rest comes from what scoring left beside the scores.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.cells import filled, light_rows, places
from core.digest import digest_of
from core.executor import Work, run_stage
from core.params import Params
from core.records import Reject
from core.shards import read_rows, shard_of, shard_path
from core.stage import out_folder, run_cli, seal
from core.tracks import load_track

SCORE_COLUMNS = ["generated_id", "track_id", "clip_id", "corpus", "language", "system", "training", "training_languages",
                 "condition", "audio_clip_id", "audio_language", "n_frames", "sample", "expert"]
TRACK_COLUMNS = ["track_id", "clip_id", "recording_id", "file", "start_frame", "n_frames", "boxes", "landmarks", "landmark_unit",
                 "meshed"]
BATCH_ROWS = 16


def main(instance: str, params: Params) -> dict[str, Any]:
    """The stats of one finished instance: one item per set, several figures each."""
    from stages.judge import source_tracks
    from stages.set_figures import find_networks, sets_in

    networks, marks = find_networks(None if params.sets.i3d is None else Path(params.sets.i3d.weights))
    rows = read_rows(out_folder("score", instance), "scores", SCORE_COLUMNS)
    kept = {r["generated_id"]: r for r in light_rows(out_folder("score", instance), "embeddings")}
    heard = {r["audio_clip_id"] for r in rows}
    corpora = {r["clip_id"]: i.corpus for i in params.instances()
               for r in light_rows(out_folder("track", i.name), "tracks", ["clip_id"], ("clip_id", heard))}
    tracks = source_tracks(params, {r["track_id"] for r in rows}, TRACK_COLUMNS) if any(networks.values()) else {}
    made = read_rows(out_folder("generate", instance), "generated", ["generated_id", "video_of"])
    shared = {r["generated_id"] for r in made if r["video_of"] is not None}
    work = []
    for key, found in sets_in(rows, corpora).items():
        system, condition, corpus, language = key
        members = [{"row": r, "kept": kept.get(r["generated_id"]), "track": tracks.get(r["track_id"]),
                    "shares": r["generated_id"] in shared} for r in found]
        payload = {"key": list(key), "members": members}
        work.append(Work(f"{system}.{condition}.{corpus}.{language}", digest_of(payload), payload,
                         {"corpus": corpus, "language": language, "speaker": None}))
    fixed = {"every": params.sets.every, "recall": params.sets.recall}
    config = fixed | {"networks": networks, "marks": marks, "generated": str(out_folder("generate", instance)),
                      "shards": params.shards, "threads": params.executor.codec_threads}
    most = max((len(w.payload["members"]) for w in work), default=1) if any(networks.values()) else 1
    # the limit is meant for one clip, and an item has many
    patient = params.executor.model_copy(update={"timeout_s": params.executor.timeout_s * most})
    return run_stage("sets", instance, work, "stages.sets:Mapper", config=config, tables=("sets",),
                     fingerprint=seal("sets", fixed, marks), n_shards=1, executor=patient)


class Mapper:
    """All figures of one set."""

    def __init__(self, config: dict[str, Any]):
        from stages.set_figures import Networks

        self._c = config
        self._nets = Networks({**config["networks"], "every": config["every"]}, config["marks"])
        if self._nets.any:
            import torch

            torch.set_num_threads(1)

    def __call__(self, payload: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from stages.set_figures import PICTURES, Member, set_rows

        # Read in the order in which they lie. Tracks are filled one at a time, in _pictures: a set may be larger than memory.
        kept = {m["row"]["generated_id"]: filled(m["kept"]) for m in sorted(payload["members"], key=lambda m: places(m["kept"]))}
        members = [Member(m["row"], kept[m["row"]["generated_id"]]) for m in payload["members"]]
        shown: dict[str, dict[str, Any]] = {}
        for given, member in zip(payload["members"], members, strict=True):
            reason = self._no_pictures(given)
            if reason is None:
                shown[member.row["generated_id"]] = given
            else:
                member.seen = dict.fromkeys(PICTURES, reason)
        seen = {name: self._pictures(shown[name], video) for name, video in self._videos(shown)}
        for member in members:
            member.seen = seen.get(member.row["generated_id"], member.seen)
        expert = next((m.row["expert"] for m in members if m.row["expert"]), None)
        return {"sets": set_rows(tuple(payload["key"]), members, self._nets, expert, self._c["recall"])}

    def _no_pictures(self, given: dict[str, Any]) -> str | None:
        """Why a row's pictures are not compared with the real ones; None where they are."""
        row = given["row"]
        if row["system"] == "real":
            return "is_the_reference"
        if row["system"] == "given":
            return "no_reference"
        if given["shares"]:
            return "same_picture"
        return None if self._nets.any and not row["sample"] else "no_weights"

    def _videos(self, shown: dict[str, dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """(generated_id, video) of the wanted rows, a few in memory at once."""
        import pyarrow.parquet as pq

        at = {shard_of(given["row"]["track_id"], self._c["shards"]) for given in shown.values()}
        for shard in sorted(at):
            file = pq.ParquetFile(shard_path(Path(self._c["generated"]), "generated", shard))
            for batch in file.iter_batches(BATCH_ROWS, columns=["generated_id", "video"]):
                for row in batch.to_pylist():
                    if row["generated_id"] in shown and row["video"] is not None:
                        yield row["generated_id"], row["video"]

    def _pictures(self, given: dict[str, Any], video: bytes) -> dict[str, Any]:
        from core import media
        from core.reel import Reel
        from stages.figures import Take
        from stages.set_figures import PICTURES, pictures

        at, n = filled(given["track"]), given["row"]["n_frames"]
        first, threads = at["start_frame"], self._c["threads"]
        source = Path(at["media"]) / at["file"]
        real = Reel(lambda: media.read_frames(source, start=first, stop=first + n, threads=threads), n, at["track_id"])
        made = Reel(lambda: media.read_frames(video, stop=n, threads=threads), n, given["row"]["generated_id"])
        try:
            return pictures(self._nets, Take(frames=made, n_frames=n, samples=None, face=load_track(at), source=real))
        except Reject as reject:
            return dict.fromkeys(PICTURES, reject.reason)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(run_cli("sets", main, doc=__doc__))

"""Workspaces that several tests read and none writes: each goes through the real stages once."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from filelock import FileLock

from core import media, shards
from tests.core.media_clips import click_track, mux
from tests.stages.sync_clips import (RECORDINGS, SHORT, add_expert, fabricated_track, hum, index, inside, record, rows_of,
                                     workspace)

WHOLE_BOX = (0.0, -48.0, 160.0, 112.0)  # a square around the whole of a numbered frame


class Clips:
    """The sync recordings as segment, crop and features left them: `times` of source frames by recording, `of` their names."""

    def __init__(self, folder, times):
        self.folder, self.times = folder, times
        self.of = {RECORDINGS[name][0].split(".")[0]: name for name in RECORDINGS}
        self.clips = rows_of(folder, "segment", "sync-en", "clips")

    def media(self, clip):
        return self.folder / "data" / "download" / "sync-en" / "media" / clip["file"]

    def clicks(self, clip):
        """Where the clicks of a clip must sound, in seconds from its first frame."""
        name, start_s = self.of[clip["recording_id"]], clip["start_frame"] / 25
        _, plan, _, _, _, late_s = RECORDINGS[name]
        return [t for c in plan["clicks"] if 0.2 < (t := c + late_s - start_s) < clip["n_frames"] / 25 - 0.1]

    def check_numbers(self, clip, numbers):
        """Every frame's number is that of a source frame no further than half a source frame from the frame's own time."""
        times = np.array(self.times[self.of[clip["recording_id"]]])
        assert len(numbers) == clip["n_frames"]
        for f, number in enumerate(numbers):
            at = (clip["start_frame"] + f) / 25
            best = np.abs(times - at).min()
            same = np.flatnonzero(np.arange(len(times)) % 256 == number)  # a frame spells its number modulo 256
            assert np.abs(times[same] - at).min() <= best + 0.0011, f"{clip['clip_id']} frame {f} shows {number}"


@pytest.fixture(scope="session")
def sync(tmp_path_factory) -> Clips:
    """Eight recordings in the containers of the field, with a fabricated track each, down to views and features."""
    import stages.crop
    import stages.download
    import stages.features
    import stages.inspect
    import stages.segment

    def make(folder):
        source = folder / "source"
        source.mkdir(parents=True)
        (folder / "times.json").write_text(json.dumps({name: record(source, name) for name in RECORDINGS}))
        index(source, [{"file": RECORDINGS[name][0], "language": "en", "speaker": name} for name in RECORDINGS])
        workspace(folder, {"sync": {"adapter": "folder", "path": str(source), "languages": {"en": {}}}},
                  segment={"shot_threshold": 1000},  # numbered frames flicker, which is no cut here
                  crop={"store": ["whole", "mouth"]})
        with inside(folder) as params:
            for stage in (stages.download, stages.segment):
                stage.main("sync-en", params)
            rng = np.random.default_rng(0)
            tracks = [fabricated_track(c, WHOLE_BOX, rng) for c in rows_of(folder, "segment", "sync-en", "clips")]
            shards.write_table(shards.shard_path(folder / "data" / "track" / "sync-en", "tracks", 0), tracks, "tracks")
            for stage in (stages.inspect, stages.crop, stages.features):
                stage.main("sync-en", params)

    folder = once(tmp_path_factory, "sync", make)
    return Clips(folder, json.loads((folder / "times.json").read_text()))


def drifting(shot: int, n: int) -> list[np.ndarray]:
    """One shot: a smooth picture of its own colours that moves slowly."""
    y, x = np.mgrid[0:96, 0:128]
    colours = np.array([(60, 110, 200), (210, 160, 60), (90, 220, 120)])[shot]
    return [np.clip(colours * (0.6 + 0.4 * np.sin((x + 2 * y + k) / 30 + shot))[..., None], 0, 255).astype(np.uint8)
            for k in range(n)]


def wav(plan: dict) -> np.ndarray:
    return np.rint(hum(plan) * 32000).astype(np.int16)


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """A folder of recordings that cannot be used as they are, through download and segment."""
    import av

    import stages.download
    import stages.segment

    def make(folder):
        source = folder / "source"
        source.mkdir(parents=True)
        talk = {"codec": "aac", "samples": hum(SHORT)}
        t25 = [i / 25 for i in range(75)]
        media.write_video(source / "good.mp4", drifting(0, 75), audio=wav(SHORT))
        mux(source / "brief.mp4", times_s=t25[:30], tracks=[{"codec": "aac", "samples": hum(SHORT)[:19200]}])
        mux(source / "mute.mp4", times_s=t25)
        mux(source / "heard.mp4", tracks=[talk])
        mux(source / "quiet.mp4", times_s=t25, tracks=[{"codec": "aac", "samples": click_track([1.0], 3.0)}])
        (source / "junk.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
        mux(source / "torn.mp4", times_s=t25, tracks=[talk])
        with av.open(str(source / "torn.mp4")) as container:
            at = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
        data = bytearray((source / "torn.mp4").read_bytes())
        place, size = at[len(at) // 2]
        data[place:place + size] = b"\xff" * size
        (source / "torn.mp4").write_bytes(data)
        media.write_video(source / "cuts.mp4", [f for k, n in enumerate((70, 80, 75)) for f in drifting(k, n)],
                          audio=wav({"length_s": 9.0, "clicks": [],
                                     "speech": [(0.2, 1.3), (1.6, 2.6), (3.0, 4.2), (4.5, 5.7), (6.2, 7.3), (7.6, 8.7)]}))
        # The picture ends before anybody speaks.
        late = {"length_s": 9.0, "speech": [(5.0, 6.2), (6.6, 8.0)], "clicks": []}
        media.write_video(source / "late.mp4", drifting(0, 75), audio=wav(late))
        names = ("good", "brief", "mute", "heard", "quiet", "junk", "torn", "cuts", "late")
        index(source, [{"file": f"{n}.mp4", "language": "en", "speaker": "made" if n == "good" else "",
                        "kind": "generated" if n == "good" else ""}
                       for n in names] + [{"file": "gone.mp4", "language": "en"}])
        workspace(folder, {"odd": {"adapter": "folder", "path": str(source), "languages": {"en": {}}}})
        with inside(folder) as params:
            for stage in (stages.download, stages.segment):
                stage.main("odd-en", params)

    return once(tmp_path_factory, "odd", make)


@pytest.fixture(scope="session")
def talkers(tmp_path_factory):
    """Two synthetic speakers, from the corpus down to views, features and splits, with whatever finder and mesh are to be had."""
    from core.choose import FINDERS, MESHES, choose
    from core.weights import WeightsMissing

    import stages.crop
    import stages.download
    import stages.features
    import stages.inspect
    import stages.segment
    import stages.split
    import stages.track

    try:
        choose("auto", FINDERS)
        choose("auto", MESHES)
    except WeightsMissing as error:
        pytest.skip(f"no face finder or no mesh can be had here: {str(error).splitlines()[0]}")

    def make(folder):
        workspace(folder, {"synthetic": {"adapter": "synthetic", "size": 192, "speakers": 2, "clips_per_speaker": 1, "seed": 20,
                                         "languages": {"en": {}}}},
                  crop={"store": ["mouth", "plain96"]}, split={"test_share": 1.0})
        with inside(folder) as params:
            for stage in (stages.download, stages.segment, stages.track, stages.inspect, stages.crop, stages.features):
                stage.main("synthetic-en", params)
            stages.split.main("all", params)

    return once(tmp_path_factory, "talkers", make)


@pytest.fixture(scope="session")
def controls(talkers, tmp_path_factory):
    """The talkers with an expert that never learnt anything, their controls generated and scored."""
    import shutil

    import stages.generate
    import stages.score

    def make(folder):
        shutil.copytree(talkers, folder, symlinks=True)
        add_expert(folder)
        with inside(folder) as params:
            for stage in (stages.generate, stages.score):
                stage.main("controls", params)

    return once(tmp_path_factory, "controls", make)


def once(tmp_path_factory, name, make):
    """The folder `name`, filled by make(folder) in the first of the test processes that asks for it; the others wait for it."""
    alone = "PYTEST_XDIST_WORKER" not in os.environ
    base = tmp_path_factory.getbasetemp() if alone else tmp_path_factory.getbasetemp().parent
    with FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.done").exists():
            make(base / name)
            (base / f"{name}.done").touch()
    return base / name

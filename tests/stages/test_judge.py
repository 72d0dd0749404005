"""The judge under every named protocol: SyncNet with the weights of the reference figures, from the video file to the numbers."""

from __future__ import annotations

import hashlib
import json
from copy import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from core import media
from core.errors import UserError
from core.reel import Reel
from core.tracks import Track
from metrics.protocols import protocol
from metrics.sync import lse
from models.experts.syncnet import open_sync
from stages.figures import Take, Unscored, sync
from stages.judge import Judge, check_precision, read_expert, seen_frames
from stages.score_files import Entry, Scorer
from tests.models.golden import golden_fill

CLIPS = ("syncnet_example.avi", "vox_00010.mp4", "vox_00086.mp4")
BY_COMMAND = "grid_bbaf2n.mpg"  # this one is scored as `babelface score` does it
TRACKED = "vox_00010.mp4"
FACE = "yunet:0123456789abcdef"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """SyncNet's weights by the recipe of syncnet_reference.json, as a file."""
    path = tmp_path_factory.mktemp("weights") / "golden.model"
    torch.save(golden_fill(open_sync("syncnet")).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def judge_of(weights):
    """protocol -> its judge. The network is opened once, and remembers what it made of pictures that it saw before, for they take
    long; `alone` opens another one."""
    remembered: dict[bytes, np.ndarray] = {}
    config = {"vshift": 15, "min_windows": 20, "view": {"kind": "syncnet", "size": 224}, "expert": read_expert(weights),
              "mesh": None, "smooth_frames": 1, "sound": "file"}
    first = Judge({"protocol": "syncnet-v2-decoded", **config})
    embed = first.expert.embed_video

    def embed_once(frames):
        key = hashlib.sha256(frames).digest()
        if key not in remembered:
            remembered[key] = embed(frames)
        return remembered[key]

    first.expert.embed_video = embed_once

    def find(name: str, alone: bool = False, **changes) -> Judge:
        if alone:
            return Judge({"protocol": name, **config, **changes})
        judge = copy(first)
        judge.protocol, judge.config = protocol(name), {"protocol": name, **config, **changes}
        return judge

    return find


def golden_of(shared: Path, clip: str) -> dict:
    return json.loads((shared / "golden" / "syncnet_reference.json").read_text())["clips"][clip]


def take_of(shared: Path, judge: Judge, clip: str, n: int | None = None, face: Track | None = None) -> Take:
    path = shared / "real" / "clips" / clip
    n = media.frame_count(path) if n is None else n
    return Take(frames=Reel(lambda: media.read_frames(path, stop=n), n), n_frames=n, samples=media.read_audio(path)[:n * 640],
                face=face, finder=FACE if face else None, sync_frames=seen_frames(judge, path, 0, n))


def whole_frame(n: int, finder_scale: float = 1.01) -> Track:
    """The track whose SyncNet crop is a whole frame of 224 x 224: rows cy - s .. cy + 1.8 s, columns cx -+ 1.4 s with s = 80."""
    half = 80 / finder_scale
    box = np.float32([[112 - half, 80 - half, 112 + half, 80 + half]])
    return Track(np.repeat(box, n, 0), np.zeros((n, 468, 2), np.float32), np.zeros(n, bool))


def check_jpeg(row: dict, golden: dict) -> None:
    """Within the tolerances through JPEG, and nearer than the figures without it."""
    wanted = golden["jpeg_protocol"]
    assert (row["offset_frames"], row["n_windows"]) == (wanted["offset"], wanted["windows"])
    assert row["lse_d"] == pytest.approx(wanted["lse_d"], rel=3e-3) and row["lse_c"] == pytest.approx(wanted["lse_c"], rel=6e-3)
    apart, without = (np.abs(np.array(curve) - wanted["mean_dist"]).mean()
                      for curve in (row["mean_dist"], golden["decoded_frames"]["mean_dist"]))
    assert apart < without


@pytest.mark.parametrize("clip", [*CLIPS, BY_COMMAND])
def test_the_reference_implementations_numbers(shared, judge_of, clip):
    """syncnet-v2-decoded: network, cepstra, resampling and arithmetic."""
    golden, judge = golden_of(shared, clip)["decoded_frames"], judge_of("syncnet-v2-decoded")
    take = take_of(shared, judge, clip)
    assert take.sync_frames is None and (take.n_frames, len(media.read_audio(shared / "real" / "clips" / clip))) == (
        golden["frames"], golden["samples"])
    row = sync(judge, take)
    assert (row["n_windows"], row["offset_frames"]) == (golden["windows"], golden["offset"])
    np.testing.assert_allclose(row["mean_dist"], golden["mean_dist"], rtol=1e-6, atol=6e-6)  # printed with five decimals
    assert row["lse_d"] == pytest.approx(golden["lse_d"], rel=1e-6) and row["lse_c"] == pytest.approx(golden["lse_c"], rel=1e-4)
    for mine, theirs in zip(take.embedded, (golden["video_embedding_first8"], golden["audio_embedding_first8"]), strict=True):
        assert np.abs(mine[0, :8] - theirs).max() <= 1e-4 * np.linalg.norm(theirs)


@pytest.mark.parametrize("clip", CLIPS)
def test_the_reference_scorers_numbers_through_jpeg(shared, judge_of, clip):
    """syncnet-v2-whole-frame: nearer than without JPEG, on every clip."""
    judge = judge_of("syncnet-v2-whole-frame")
    check_jpeg(sync(judge, take_of(shared, judge, clip)), golden_of(shared, clip))


def test_a_file_gets_the_reference_scorers_numbers(shared, weights, monkeypatch):
    """From the file to the row, as `babelface score --protocol NAME --expert WEIGHTS` goes; whole frames need no face."""
    monkeypatch.setattr(Scorer, "_faces", lambda scorer, path: ([], "no_face"))
    (row,) = Scorer("syncnet-v2-whole-frame", weights).rows(Entry(BY_COMMAND, shared / "real" / "clips" / BY_COMMAND))
    check_jpeg(row, golden_of(shared, BY_COMMAND))
    assert row["expert"] == f"full:{row['expert_sha256'][:8]}" and row["cpbd"] is None
    assert row["protocol"] == ("syncnet-v2-whole-frame(view=syncnet 224x224, vshift=15, min_windows=20, jpeg=mjpeg, edges=zeros, "
                               "sound=file)")


def test_the_direct_path_has_the_reference_distances_where_all_pairs_are_real(shared, judge_of):
    """syncnet-v2-direct, on a track whose crop is the whole frame: at lag 0 no zero vector enters the published mean either."""
    judge, golden = judge_of("syncnet-v2-direct"), golden_of(shared, TRACKED)["decoded_frames"]
    take = take_of(shared, judge, TRACKED, face=whole_frame(golden["frames"]))
    row = sync(judge, take)
    assert row["mean_dist"][15] == pytest.approx(golden["mean_dist"][15], rel=1e-6, abs=6e-6)
    padded = lse(*take.embedded)
    np.testing.assert_allclose(padded.mean_dist, golden["mean_dist"], rtol=1e-6, atol=6e-6)
    assert abs(row["mean_dist"][0] - golden["mean_dist"][0]) > 0.01, "pairs with zero vectors are not in our means"


def test_the_tracked_path_is_two_jpegs_around_the_crop(shared, judge_of):
    """syncnet-v2-tracked, on a track whose crop is the whole frame: JPEG at quality 2, the crop, JPEG at the default quality."""
    from core.media_jpeg import jpeg_roundtrip_mjpeg

    judge, n, path = judge_of("syncnet-v2-tracked"), 25, shared / "real" / "clips" / TRACKED
    take = take_of(shared, judge, TRACKED, n, whole_frame(n))
    crops = judge.crops(take)
    first = list(media.read_frames_jpeg(path, stop=n, quality=2))
    assert np.array_equal(crops, np.stack(list(jpeg_roundtrip_mjpeg(first))))
    once, plain = np.stack(list(media.read_frames_jpeg(path, stop=n))), np.stack(list(media.read_frames(path, stop=n)))
    off = {name: float(np.abs(crops.astype(int) - other).mean()) for name, other in (("once", once), ("plain", plain))}
    assert 0 < off["once"] < off["plain"] < 5, off
    row = sync(judge, take)
    whole = judge_of("syncnet-v2-whole-frame")
    seen = take_of(shared, whole, TRACKED)
    sync(whole, seen)  # frame by frame the same JPEG as that of the first 25 frames alone
    near = lse(*(embedded[:n - 5] for embedded in seen.embedded))
    assert (row["n_windows"], row["offset_frames"]) == (n - 5, near.offset_frames)
    assert row["lse_d"] == pytest.approx(near.lse_d, rel=0.01) and row["lse_d"] != near.lse_d
    np.testing.assert_allclose(row["mean_dist"], lse(*take.embedded).mean_dist)
    take.face = None
    with pytest.raises(Unscored, match="no_face"):
        judge.crops(take)


def test_bfloat16_moves_lse_by_less_than_half_a_per_cent_and_is_another_protocol(shared, judge_of):
    short = {"vshift": 2, "min_windows": 4}  # few frames: a CPU without its instructions takes seven times as long
    exact = judge_of("syncnet-v2-whole-frame", **short)
    rough = judge_of("syncnet-v2-whole-frame", alone=True, precision="bfloat16", **short)
    found = [sync(judge, take_of(shared, judge, BY_COMMAND, 9)) for judge in (exact, rough)]
    assert found[0]["n_windows"] == 4 and found[0]["lse_d"] != found[1]["lse_d"]
    assert found[1]["lse_d"] == pytest.approx(found[0]["lse_d"], rel=5e-3)
    np.testing.assert_allclose(found[1]["mean_dist"], found[0]["mean_dist"], rtol=5e-3)
    assert rough.describe(None) == exact.describe(None).replace(")", ", precision=bfloat16)")
    with pytest.raises(UserError, match="score.precision bfloat16: model.pt is a small network"):
        check_precision({"network": "small", "path": "model.pt"}, "bfloat16")


def test_the_published_figures_with_the_published_weights(shared, judge_of):
    """syncnet_python's README: offset 3, 5.353, 10.021 for its demo clip."""
    from core.weights import WeightsMissing, find

    try:
        file = find("syncnet_v2", fetch=False)
    except WeightsMissing:
        pytest.skip("the public syncnet_v2.model is not here: put it into BABELFACE_MODELS or the weights' cache")
    judge = judge_of("syncnet-v2-whole-frame", alone=True, expert=read_expert(file.path))
    row = sync(judge, take_of(shared, judge, "syncnet_example.avi"))
    assert judge.config["expert"]["name"] == "syncnet_v2" and row["offset_frames"] == 3
    assert row["lse_d"] == pytest.approx(5.353, abs=0.02) and row["lse_c"] == pytest.approx(10.021, abs=0.03)

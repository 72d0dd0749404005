"""I3D and VideoMAE with seeded weights against what cd-fvd 0.1.1's own networks give for the same weights and clips."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from core import weights  # noqa: E402
from models.experts import video_features as vf  # noqa: E402


def seeded(shapes: dict[str, tuple[int, ...]], seed: int) -> dict:
    """Tensors drawn in the order of their names, at a scale that keeps activations alive; no step counters, as in the file."""
    rng, out = np.random.default_rng(seed), {}
    for key in sorted(k for k in shapes if not k.endswith("num_batches_tracked")):
        shape = shapes[key]
        value = rng.standard_normal(shape).astype(np.float32)
        if key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            value = 1 + 0.1 * np.abs(value)
        else:
            value *= np.float32((2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1)
        out[key] = torch.from_numpy(value)
    return out


def clips(n: int, seed: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 16, side, side + 8, 3), dtype=np.uint8)


def shapes_of(net) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in net.state_dict().items()}


def meta(make):
    with torch.device("meta"):
        return make()


SMALL = {"dim": 48, "depth": 2, "heads": 4, "hidden": 48 * 48 // 11, "tokens": 32, "classes": 5}


@pytest.fixture(scope="module")
def i3d(tmp_path_factory):
    path = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    torch.save(seeded(shapes_of(meta(vf.I3D)), 3), path)
    return path


@pytest.fixture(scope="module")
def videomae(tmp_path_factory):
    path = tmp_path_factory.mktemp("videomae") / "small.pth"
    torch.save({"module": seeded(shapes_of(meta(lambda: vf.VideoMAE(**SMALL))), 4)}, path)
    return path


def test_i3d_gives_the_logits_of_cd_fvd(i3d):
    found = vf.open_video_features(i3d).embed(clips(1, 5, 40))
    assert found.shape == (1, 400) and found.dtype == np.float32
    np.testing.assert_allclose(found[0, :6], [-4.848999, -3.371980, -3.515707, 6.142996, -1.294139, -1.030608], rtol=1e-4)
    assert np.linalg.norm(found) == pytest.approx(99.18211, rel=1e-4)


def test_videomae_gives_the_features_of_cd_fvd(videomae):
    found = vf.open_video_features(videomae, "videomae", side=28, **SMALL).embed(clips(2, 6, 30))
    expected = [[0.3204299, 1.2576078, 0.0248014, -1.6054471], [0.2491869, 1.3480240, 0.0362926, -1.5228273]]
    assert found.shape == (2, 48)
    np.testing.assert_allclose(found[:, :4], expected, rtol=1e-4, atol=1e-5)


def test_the_giant_has_the_published_size():
    net = meta(vf.VideoMAE)
    assert sum(p.numel() for p in net.parameters()) == 1_011_855_918 and net.dim == 1408


def test_a_clip_has_the_same_features_alone_as_among_others(videomae):
    net = vf.open_video_features(videomae, "videomae", side=28, **SMALL)
    several = clips(3, 7, 20)
    np.testing.assert_allclose(net.embed(several)[2:], net.embed(several[2:]), rtol=1e-4, atol=1e-5)
    still = np.repeat(several[:, :1], 16, axis=1)
    assert np.abs(net.embed(several) - net.embed(still)).max() > 0.01  # it sees more than one frame


def test_windows_do_not_overlap_and_a_rest_is_left_out():
    video = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    cut = vf.windows(video)
    assert cut.shape == (2, 16, 2, 2, 3) and cut[1, 0, 0, 0, 0] == 16
    assert vf.windows(video[:15]).shape == (0, 16, 2, 2, 3)


def test_wrong_clips_and_wrong_files_are_refused(videomae, tmp_path):
    net = vf.open_video_features(videomae, "videomae", side=28, **SMALL)
    for bad in (clips(1, 0, 20)[:, :15], clips(1, 0, 20)[0], clips(1, 0, 20).astype(np.float32)):
        with pytest.raises(ValueError, match="16, H, W, 3"):
            net.embed(bad)
    with pytest.raises(ValueError, match="small.pth: not the weights of i3d"):
        vf.open_video_features(videomae)
    with pytest.raises(ValueError, match="i3d, videomae"):
        vf.open_video_features(videomae, "c3d")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="no tensors by name"):
        vf.open_video_features(tmp_path / "list.pt")


def test_their_weights_are_in_the_table_and_the_unverifiable_one_is_never_fetched():
    entries = {kind: weights.lookup(name) for kind, name in vf.WEIGHTS.items()}
    assert entries["i3d"].address is None and not entries["i3d"].sha256
    assert "name the file yourself" in weights.missing(vf.WEIGHTS["i3d"])
    said = weights.missing(vf.WEIGHTS["videomae"])
    assert entries["videomae"].sha256[0] in said and "allow the download" not in said and "mediapipe" not in said

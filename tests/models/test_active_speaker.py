"""Light-ASD: the published layers in another order of work, the same numbers; its own weights and no others; real faces."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from models.experts.active_speaker import GREY_MEAN, GREY_STD, SIDE, open_active_speaker


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    made = open_active_speaker()
    rng = torch.Generator().manual_seed(1)
    for name, value in made.state_dict().items():  # statistics that a folded BatchNorm must get right
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=rng) + 0.5)
        elif name.endswith(("running_mean", "bias")) and "gru" not in name:
            value.copy_(0.1 * torch.randn(value.shape, generator=rng))
    return made


def inputs(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, SIDE, SIDE), dtype=np.uint8), rng.normal(0, 10, (4 * n - 1, 13)).astype(np.float32)


def plain(net, faces, mfcc):
    """The network layer by layer, as its paper draws it: 3-D convolutions over the whole clip, BatchNorm, ReLU."""
    def pair(block, x, first, stride=1):
        conv = F.conv3d if first == "s" else F.conv2d
        sides = []
        for k in (3, 5):
            still, along = getattr(block, f"{first}_{k}"), getattr(block, f"t_{k}")
            pad, step = ((0, k // 2, k // 2), (1, stride, stride)) if first == "s" else ((k // 2, 0), 1)
            y = F.relu(getattr(block, f"bn_{first}_{k}")(conv(x, still.weight, None, step, pad)))
            pad = (k // 2, 0, 0) if first == "s" else (0, k // 2)
            sides.append(F.relu(getattr(block, f"bn_t_{k}")(conv(y, along.weight, None, 1, pad))))
        return F.relu(block.bn_last(conv(sides[0] + sides[1], block.last.weight)))

    with torch.inference_mode():
        x = ((torch.from_numpy(faces).float() / 255 - GREY_MEAN) / GREY_STD)[None, None]
        x = F.max_pool3d(pair(net.visual.block1, x, "s", 2), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = F.max_pool3d(pair(net.visual.block2, x, "s"), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = pair(net.visual.block3, x, "s").amax((3, 4))[0].T
        rows = torch.from_numpy(np.pad(mfcc, ((0, 1), (0, 0))))
        y = pair(net.audio.block1, rows.T[None, None], "m")
        y = pair(net.audio.block2, F.max_pool2d(y, (1, 3), (1, 2), (0, 1)), "m")
        y = pair(net.audio.block3, F.max_pool2d(y, (1, 3), (1, 2), (0, 1)), "m").mean(2)[0].T
        z = F.gelu(net.gru.gru_forward((x + y)[None])[0])
        z = F.gelu(net.gru.gru_backward(z.flip(1))[0].flip(1))
        return net.out(z)[0, :, 1].numpy()


@pytest.mark.parametrize("n", [1, 5, 30])
def test_by_parts_gives_the_numbers_of_the_whole_clip(net, n):
    faces, mfcc = inputs(n)
    got = net.scores(faces, mfcc)
    assert got.shape == (n,) and got.dtype == np.float32
    assert np.allclose(got, plain(net, faces, mfcc), atol=2e-4)
    assert np.array_equal(got, net.scores(faces, mfcc))


def test_sound_that_ends_early_is_silence_and_more_is_left_out(net):
    faces, mfcc = inputs(8)
    short = np.concatenate([mfcc[:20], np.zeros((12, 13), np.float32)])
    assert np.array_equal(net.scores(faces, mfcc[:20]), net.scores(faces, short))
    longer = np.concatenate([mfcc, np.zeros((1, 13), np.float32), np.ones((40, 13), np.float32)])
    assert np.array_equal(net.scores(faces, longer), net.scores(faces, mfcc))
    assert net.scores(faces[:0], mfcc).shape == (0,)


def test_mistakes_are_named(net):
    faces, mfcc = inputs(4)
    with pytest.raises(ValueError, match="112"):
        net.scores(faces[:, :100], mfcc)
    with pytest.raises(ValueError, match="cepstra"):
        net.scores(faces, mfcc[:, :12])
    with pytest.raises(ValueError, match="not the weights of Light-ASD.*first"):
        open_active_speaker({"model.GRU.gru_forward.weight_ih_l0": torch.zeros(384, 128)})


def test_the_public_weights_load_by_their_hash_and_know_a_speaking_face(shared, monkeypatch):
    import cv2

    from core import media, mfcc
    from core.views import ViewTemplate, cut
    from core.weights import find, load_torch

    monkeypatch.setenv("BABELFACE_MODELS", str(shared / "models"))
    monkeypatch.setenv("BABELFACE_OFFLINE", "1")
    found = find("light_asd")
    assert found.licence == "MIT"
    net = open_active_speaker(load_torch(found.path))
    assert sum(p.numel() for p in net.parameters()) == 1_021_378, "less the head that judges by the picture alone"
    path = shared / "real" / "clips" / "vox_00373.mp4"  # a face that fills 224 pixels: its own crop is good enough
    frames = [f for f, _ in zip(media.read_frames(path), range(50), strict=False)]
    move = np.array([[0.7, 0, -22.0], [0, 0.7, -45.0]])  # the lower middle, larger than the mouth
    faces = np.stack([cv2.cvtColor(cut(f, move, SIDE), cv2.COLOR_RGB2GRAY) for f in frames])
    cepstra = mfcc.mfcc_syncnet(media.read_audio(path)[:50 * 640])
    talks, still = net.scores(faces, cepstra), net.scores(np.repeat(faces[:1], 50, axis=0), cepstra)
    assert talks.mean() > 2 and talks.mean() > still.mean() + 2
    assert ViewTemplate("syncnet", 224).shape == (224, 224)

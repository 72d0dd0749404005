"""The sync experts: what both promise. SyncNet v2 against the reference implementation's numbers: tests/stages/test_judge.py."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from core.errors import UserError
from core.mfcc import mfcc_syncnet
from core.records import Reject
from models.experts import syncnet
from models.experts.syncnet import SyncNet, SyncNetSmall, embed_clip, n_score_windows, open_sync, to_grey
from tests.models.golden import golden_fill


@lru_cache(maxsize=1)
def golden_net() -> SyncNet:
    torch.set_num_threads(1)
    return golden_fill(open_sync("syncnet"))


def test_precisions_that_there_are():
    """What bfloat16 does to scores: tests/stages/test_judge.py."""
    for kind, precision in (("syncnet", "float16"), ("small", "bfloat16")):
        with pytest.raises(ValueError, match=f"{kind}: precision '{precision}'; expected float32"):
            open_sync(kind, precision=precision)


def test_layers_and_names_of_the_public_weights():
    net = SyncNet()
    state = net.state_dict()
    assert len(state) == 102 and sum(p.numel() for p in net.parameters()) == 13_631_616
    shapes = {"netcnnaud.0.weight": (64, 1, 3, 3), "netcnnaud.4.weight": (192, 64, 3, 3), "netcnnaud.8.weight": (384, 192, 3, 3),
              "netcnnaud.18.weight": (512, 256, 5, 4), "netfcaud.3.weight": (1024, 512), "netcnnlip.0.weight": (96, 3, 5, 7, 7),
              "netcnnlip.4.weight": (256, 96, 1, 5, 5), "netcnnlip.18.weight": (512, 256, 1, 6, 6),
              "netfclip.1.running_var": (512,)}
    assert {k: tuple(state[k].shape) for k in shapes} == shapes


@pytest.mark.parametrize("n_frames", [5, 13, 14])
def test_a_whole_clip_equals_window_by_window(n_frames):
    net = golden_net()
    frames = np.random.default_rng(n_frames).integers(0, 256, (n_frames, 224, 224, 3), np.uint8)
    bgr = torch.from_numpy(frames[..., ::-1].copy()).float().permute(3, 0, 1, 2)
    picks = sorted({0, n_frames - 5})
    with torch.inference_mode():
        reference = net.forward_lip(torch.stack([bgr[:, i:i + 5] for i in picks])).numpy()
    whole = net.embed_video(frames)
    assert whole.shape == (n_frames - 4, 1024) and whole.dtype == np.float32
    np.testing.assert_allclose(whole[picks], reference, atol=1e-4)


def test_sound_windows_start_every_fourth_row():
    net = golden_net()
    mfcc = np.random.default_rng(0).normal(0, 10, (40, 13))
    windows = np.stack([mfcc[4 * i:4 * i + 20].T for i in range(6)])[:, None]
    with torch.inference_mode():
        reference = net.forward_audio(torch.from_numpy(windows.astype(np.float32))).numpy()
    np.testing.assert_allclose(net.embed_audio(mfcc, 6), reference, atol=1e-5)
    with pytest.raises(ValueError, match="7 windows of sound need .*>= 44, 13"):
        net.embed_audio(mfcc, 7)


@pytest.fixture
def small() -> SyncNetSmall:
    torch.manual_seed(0)
    return open_sync("small")


def mouths(n_frames: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n_frames, *size, 3), np.uint8)


def test_the_small_expert_is_small_and_its_embeddings_have_length_one(small):
    lip = sum(p.numel() for n, p in small.named_parameters() if n.startswith("lip"))
    audio = sum(p.numel() for n, p in small.named_parameters() if n.startswith("audio"))
    assert 160_000 < lip < 175_000 and 130_000 < audio < 150_000
    samples = np.random.default_rng(0).integers(-9000, 9000, 640 * 30).astype(np.int16)
    video, sound = embed_clip(small, mouths(30), samples)
    assert video.shape == sound.shape == (25, 128)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([video, sound]), axis=1), 1, atol=1e-5)


def test_the_small_expert_sees_grey_windows_in_order(small):
    frames = mouths(20)
    grey = torch.from_numpy(to_grey(frames))
    with torch.inference_mode():
        reference = small.forward_lip(torch.stack([grey[i:i + 5] for i in range(16)])).numpy()
    np.testing.assert_allclose(small.embed_video(frames), reference, atol=1e-5)
    assert to_grey(np.full((1, 1, 3), 200, np.uint8)) == pytest.approx(200)
    assert not np.allclose(small.embed_video(frames[::-1].copy())[::-1], reference, atol=1e-3)


def test_the_small_expert_learns_which_sound_belongs_to_which_mouth(small):
    """Forty steps on eight random pairs: the right sound becomes the nearest for each, so gradients reach both branches."""
    rng = np.random.default_rng(3)
    lips = torch.from_numpy(rng.normal(128, 40, (8, 5, 32, 48)).astype(np.float32))
    sounds = torch.from_numpy(rng.normal(0, 20, (8, 1, 13, 20)).astype(np.float32))
    small.train()
    step = torch.optim.AdamW(small.parameters(), 1e-3)
    for _ in range(40):
        likeness = small.forward_lip(lips) @ small.forward_audio(sounds).T / 0.1
        loss = torch.nn.functional.cross_entropy(likeness, torch.arange(8))
        step.zero_grad()
        loss.backward()
        step.step()
    assert (likeness.argmax(1) == torch.arange(8)).all() and loss < 0.5


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_the_chunk_changes_nothing(small, monkeypatch, chunk):
    frames = mouths(30)
    before = small.embed_video(frames)
    monkeypatch.setattr(syncnet, "VIDEO_CHUNK", chunk)
    np.testing.assert_allclose(small.embed_video(frames), before, atol=1e-6)


def test_embedding_leaves_a_training_model_as_it_was(small):
    small.train()
    before = {k: v.clone() for k, v in small.state_dict().items()}
    first = small.embed_video(mouths(12))
    small.embed_audio(np.ones((60, 13)), 10)
    assert small.training and all(torch.equal(v, before[k]) for k, v in small.state_dict().items())
    assert np.array_equal(first, small.eval().embed_video(mouths(12)))


def test_weights_go_in_and_wrong_ones_do_not(small):
    state = golden_net().state_dict()
    without_counters = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    again = open_sync("syncnet", without_counters)
    assert not again.training and torch.equal(again.netfclip[3].weight, state["netfclip.3.weight"])
    with pytest.raises(UserError, match="not the weights of syncnet_v2.*'audio.0.bias'"):
        open_sync("syncnet", small.state_dict())
    for nothing in (torch.zeros(3), {"model": state}, {1: torch.zeros(3)}):
        with pytest.raises(UserError, match="not the weights of syncnet_v2.* name the file that belongs to this expert"):
            open_sync("syncnet", nothing)
    with pytest.raises(UserError, match="1 tensors .* 'netcnnaud.0.bias'"):
        open_sync("syncnet", without_counters | {"netcnnaud.0.bias": torch.zeros(3)})
    with pytest.raises(ValueError, match="syncnet_v3"):
        open_sync("syncnet_v3")
    larger = open_sync("small", SyncNetSmall((64, 64)).state_dict(), (64, 64))
    assert larger.input_size == (64, 64) and larger.embed_video(mouths(6, (64, 64))).shape == (2, 128)


@pytest.mark.parametrize(("frames", "samples", "windows"),
                         [(100, 64000, 95), (106, 68608, 101), (75, 47648, 69), (6, 3840, 1), (5, 9999, 0)])
def test_how_many_windows_count(frames, samples, windows):
    assert n_score_windows(frames, samples) == windows


def test_what_is_too_short_is_rejected_and_what_is_wrong_is_an_error(small):
    with pytest.raises(Reject) as rejected:
        embed_clip(small, mouths(5), np.zeros(64000, np.int16))
    assert rejected.value.reason == "too_short"
    for wrong in (mouths(4), mouths(9, (48, 32)), mouths(9).astype(np.float32), mouths(9)[..., 0]):
        with pytest.raises(ValueError, match="syncnet_small: expected uint8 frames .*'mouth' view"):
            small.embed_video(wrong)


def test_attributes_that_a_protocol_reads(small):
    net = golden_net()
    assert (net.name, net.view, net.window, net.input_size, net.dim) == ("syncnet_v2", "syncnet", 5, (224, 224), 1024)
    assert (small.name, small.view, small.window, small.input_size, small.dim) == ("syncnet_small", "mouth", 5, (32, 48), 128)
    assert mfcc_syncnet(np.zeros(640 * 29, np.int16)).shape == (115, 13)

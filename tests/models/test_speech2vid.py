from pathlib import Path

import numpy as np
import pytest
import torch

from models.systems.base import Inputs, make_system
from models.systems.speech2vid import MOUTH, OUT
from models.windows import cut_windows, spread_stills, step_rng, system_batch, system_draws
from stages.train import Job, fit, make_fabric
from tests.toy_mouth import ToyReader, mouth_height


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return make_system("speech2vid", width="small", stills=2, mouth_weight=2.0).eval()


def batch_of(n=2, stills=2, seed=0):
    rng = np.random.default_rng(seed)
    pixels = lambda *shape: torch.from_numpy(rng.integers(0, 256, (*shape, 112, 112, 3), dtype=np.uint8))  # noqa: E731
    audio = torch.from_numpy(rng.normal(size=(n, 1, 35, 12)).astype(np.float32)) * 10
    return {"audio": audio, "stills": pixels(n, stills), "target": pixels(n, 1)}


@pytest.mark.parametrize(("part", "millions"), [("audio", 6.93), ("face", 16.16), ("decoder", 4.96)])
def test_full_has_the_parameters_of_the_released_model(part, millions):
    model = make_system("speech2vid", width="full", stills=5)
    assert round(count(getattr(model, part)) / 1e6, 2) == millions
    assert round(count(model) / 1e6, 2) == 28.05


def test_layers_have_the_published_sizes():
    model = make_system("speech2vid", width="full", stills=5).eval()
    sizes = {}
    for name, module in [("audio", model.audio), *model.decoder.named_children(), *model.face.named_children()]:
        module.register_forward_hook(lambda m, i, o, name=name: sizes.__setitem__(name, tuple(o.shape[1:])))
    with torch.inference_mode():
        out = model(torch.zeros(1, 35, 12), torch.zeros(1, 5, 112, 112, 3, dtype=torch.uint8))
    assert out.shape == (1, 3, 109, 109)
    assert sizes["audio"] == (256, 1, 1) and sizes["rest"] == (256, 1, 1)
    assert (sizes["conv1"], sizes["pool1"], sizes["conv2"]) == ((96, 53, 53), (96, 26, 26), (256, 12, 12))
    assert sizes["conv8"] == (128, 1, 1) and sizes["conv11"] == (512, 6, 6) and sizes["conv14"] == (96, 26, 26)
    assert sizes["conv15"] == (96, 53, 53) and sizes["conv16"] == (64, 107, 107) and sizes["conv18"] == (3, 109, 109)


def test_the_target_is_the_view_without_its_first_row_and_column(small):
    batch = batch_of()
    with torch.inference_mode():
        made = small(batch["audio"][:, 0], batch["stills"])
        batch["target"][:, 0, 1:110, 1:110] = (made * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        assert small.losses(batch)["loss"] < 0.003
    assert small.margin == (1, 1)


def test_the_mouth_weighs_more_in_the_loss(small):
    def loss_when_wrong_at(where):
        batch = batch_of()
        with torch.inference_mode():
            made = (small(batch["audio"][:, 0], batch["stills"]) * 255).round().permute(0, 2, 3, 1)
            made[:, where[0], where[1]] = 255 - made[:, where[0], where[1]]
            batch["target"][:, 0, 1:110, 1:110] = made.to(torch.uint8)
            return float(small.losses(batch)["loss"])
    rows, columns = MOUTH
    inside = loss_when_wrong_at((slice(rows.start, rows.start + 20), slice(columns.start, columns.start + 40)))
    outside = loss_when_wrong_at((slice(0, 20), slice(columns.start, columns.start + 40)))
    assert inside > 1.5 * outside


def test_generate_is_the_network_frame_by_frame_whatever_the_chunk(small):
    rng = np.random.default_rng(1)
    stills = rng.integers(0, 256, (2, 112, 112, 3), dtype=np.uint8)
    inputs = Inputs(5, audio=rng.normal(size=(5, 35, 12)).astype(np.float32) * 10, stills=stills)
    frames = small.generate(inputs, chunk=2)
    assert frames.shape == (5, OUT, OUT, 3) and frames.dtype == np.uint8
    assert np.abs(frames.astype(int) - small.generate(inputs, chunk=5)).max() <= 1
    with torch.inference_mode():
        alone = small(torch.from_numpy(inputs.audio[3:4]), torch.from_numpy(inputs.stills)[None])[0].permute(1, 2, 0)
    assert np.abs(frames[3] - (alone * 255).numpy()).max() <= 1.01


def test_sound_reaches_the_picture_before_any_training():
    torch.manual_seed(0)
    model = make_system("speech2vid", width="full", stills=1)  # train mode: normalisation by the batch
    with torch.no_grad():
        made = model(torch.randn(4, 35, 12) * 10, torch.full((4, 1, 112, 112, 3), 128, dtype=torch.uint8))
    assert made.std(0).mean() > 5e-3  # with torch's default start of the decoder: 3e-8


def test_small_learns_to_open_the_mouth_with_the_sound(tmp_path):
    toy, steps = ToyReader(4, 80, size=(112, 112)), 80
    torch.manual_seed(0)
    model = make_system("speech2vid", width="small", stills=2, mouth_weight=4.0)

    def draw(step, part, rank, world):
        return system_batch(system_draws(toy.tracks, 6, model.spec, step_rng(1, step, part))[rank::world], model.spec, toy)

    job = Job("toy", model, draw, steps, 4e-3, 1000, 1, "d")
    rows = fit(job, make_fabric("32-true", 1), Path(tmp_path) / "none.pt", say=lambda _: None)
    assert rows[-1]["l1_mouth"] < 0.6 * rows[0]["l1_mouth"]
    for track in toy.tracks[:2]:
        audio = cut_windows(toy.feature(track.id, "mfcc_speech2vid"), "speech2vid", np.arange(80))
        made = model.generate(Inputs(80, audio=audio, stills=toy.frames(track.id, spread_stills(80, 2))))
        assert np.corrcoef(mouth_height(made), toy.opening(track.id))[0, 1] > 0.7
        # The sound of another track moves the same face otherwise.
        other = cut_windows(toy.feature(toy.tracks[3].id, "mfcc_speech2vid"), "speech2vid", np.arange(80))
        dubbed = model.generate(Inputs(80, audio=other, stills=toy.frames(track.id, spread_stills(80, 2))))
        assert np.corrcoef(mouth_height(dubbed), toy.opening(toy.tracks[3].id))[0, 1] > 0.6

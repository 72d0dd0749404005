import math
from pathlib import Path

import numpy as np
import pytest
import torch

from models.experts.syncnet import SyncNet, SyncNetSmall
from models.losses import BCE_CHANCE, StuckAlarm, info_nce, info_nce_chance, pairs_allowed, weighted_l1
from models.training_sync import (EXAM_LAGS, SyncTraining, disturb_pixels, disturb_sound, exam_result, examine, found_offset,
                                  is_hard)
from models.windows import step_rng, sync_batch, sync_draws
from stages.train import Job, fit, make_fabric
from tests.toy_mouth import ToyReader

CLIP, START = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([3, 4, 6, 0, 9])


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def tensors(batch, **more):
    return {k: torch.from_numpy(v) for k, v in batch.items()} | more


def test_easy_negatives_are_other_clips_only():
    assert pairs_allowed(CLIP, START, same_clip=False).int().tolist() == [
        [1, 0, 0, 1, 1], [0, 1, 0, 1, 1], [0, 0, 1, 1, 1], [1, 1, 1, 1, 0], [1, 1, 1, 0, 1]]


def test_hard_negatives_add_shifts_of_more_than_one_frame():
    assert pairs_allowed(CLIP, START, same_clip=True).int().tolist() == [
        [1, 0, 1, 1, 1], [0, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]


def test_easy_comes_first():
    assert [is_hard(s, 100) for s in (0, 14, 15, 99)] == [False, False, True, True]


def test_info_nce_is_the_textbook_sum():
    rng = np.random.default_rng(0)
    video, audio = rng.normal(size=(5, 8)), rng.normal(size=(5, 8))
    allowed = pairs_allowed(CLIP, START, same_clip=True)
    cosine = (video / np.linalg.norm(video, axis=1, keepdims=True)) @ (audio / np.linalg.norm(audio, axis=1, keepdims=True)).T
    weight = np.exp(7 * cosine) * allowed.numpy()
    expected = -(np.log(np.diag(weight) / weight.sum(1)) + np.log(np.diag(weight) / weight.sum(0))).mean() / 2
    loss, _ = info_nce(torch.tensor(video), torch.tensor(audio), torch.tensor(7.0), allowed)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_guessing_costs_chance():
    allowed = pairs_allowed(CLIP, START, same_clip=True)
    same = torch.ones(5, 8)
    loss, _ = info_nce(same, same, torch.tensor(5.0), allowed)
    assert loss.item() == pytest.approx(info_nce_chance(allowed), rel=1e-6)


def test_weighted_l1_of_ones_is_l1_and_a_weight_moves_it():
    made, target = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0], [0, 0]]]])
    assert weighted_l1(made, target, torch.ones(2, 2)).item() == 0.25
    assert weighted_l1(made, target, torch.tensor([[4.0, 1], [1, 1]])).item() == pytest.approx(4 / 7)


@pytest.mark.parametrize("chance", [BCE_CHANCE, math.log(192)])
def test_the_alarm_rings_once_when_the_loss_stays_at_chance(chance):
    alarm = StuckAlarm(patience=50)
    rng = np.random.default_rng(0)
    rang = [alarm.see(step, chance * (1 + rng.normal() * 0.02), chance) for step in range(200)]
    assert [i for i, text in enumerate(rang) if text] == [49]
    assert f"{chance:.3f}" in rang[49] and "learning rate" in rang[49]


def test_the_alarm_is_quiet_while_the_loss_falls():
    alarm = StuckAlarm(patience=50)
    assert not any(alarm.see(step, BCE_CHANCE * 0.997 ** step, BCE_CHANCE) for step in range(400))


def test_the_alarm_also_rings_when_a_loss_returns_to_chance():
    alarm = StuckAlarm(patience=50)
    losses = [BCE_CHANCE * 0.5] * 60 + [BCE_CHANCE] * 100
    assert sum(bool(alarm.see(i, x, BCE_CHANCE)) for i, x in enumerate(losses)) == 1


@pytest.mark.parametrize("lag", [-15, -6, 0, 1, 15])
def test_a_known_offset_is_found(lag):
    rng = np.random.default_rng(0)
    video = rng.normal(size=(70, 8))
    audio = rng.normal(size=(70, 8))
    for i in range(70):
        if 0 <= i + lag < 70:
            audio[i + lag] = video[i] + rng.normal(size=8) * 0.1
    assert found_offset(video, audio) == lag


def test_the_exam_moves_the_sound_and_asks_for_the_move_back():
    same = np.random.default_rng(0).normal(size=(110, 8))
    answers = examine(same, same)
    assert len(answers) == 3 and all(truth == found for truth, found in answers)  # only lags 0, 4, 8 fit at the start of the clip
    assert {truth for truth, _ in answers} == {0, -4, -8} <= {-lag for lag in EXAM_LAGS}
    assert examine(same[:60], same[:60]) == []
    assert exam_result([]) == {"within_1": None, "exact": None, "n": 0}
    assert exam_result([(0, 0), (4, 5), (4, 6), (0, -1)]) == {"within_1": 0.75, "exact": 0.25, "n": 4}


def test_full_and_small_get_the_pictures_they_were_made_for():
    toy = ToyReader(2, 40)
    batch = tensors(sync_batch(sync_draws(toy.tracks, 2, 3, step_rng(0, 0)), toy))
    small = SyncTraining(SyncNetSmall((48, 64)))
    windows = small._windows(small._pixels(batch["frames"]), batch["starts"])
    first = batch["frames"][0, batch["starts"][0, 1]:batch["starts"][0, 1] + 5].float()
    torch.testing.assert_close(windows[1], first @ torch.tensor([0.299, 0.587, 0.114]))
    full = SyncTraining(SyncNet())
    windows = full._windows(full._pixels(batch["frames"]), batch["starts"])
    assert windows.shape == (6, 3, 5, 48, 64)
    torch.testing.assert_close(windows[1], first.permute(3, 0, 1, 2).flip(0))  # BGR, 0..255


def test_disturbing_keeps_range_and_shape_and_follows_the_seed():
    pixels, sound = torch.rand(3, 4, 32, 48, 1) * 255, torch.randn(3, 2, 20, 13)
    torch.manual_seed(1)
    a, b = disturb_pixels(pixels), disturb_sound(sound)
    torch.manual_seed(1)
    again = disturb_pixels(pixels)
    assert torch.equal(a, again) and not torch.equal(a, disturb_pixels(pixels))
    assert a.shape == pixels.shape and 0 <= a.min() and a.max() <= 255 and b.shape == sound.shape


def test_evaluation_does_not_disturb():
    toy = ToyReader(2, 40)
    batch = tensors(sync_batch(sync_draws(toy.tracks, 2, 4, step_rng(0, 0)), toy), hard=True)
    model = SyncTraining(SyncNetSmall((48, 64))).eval()
    assert model.losses(batch)["loss"].item() == model.losses(batch)["loss"].item()


def test_the_expert_learns_and_finds_a_delay_it_never_saw(tmp_path):
    toy, steps = ToyReader(10, 120), 70
    torch.manual_seed(0)
    network = SyncNetSmall((48, 64))

    def draw(step, part, rank, world):
        draws = sync_draws(toy.tracks, 5, 10, step_rng(1, step, part))[rank::world]
        return sync_batch(draws, toy) | {"hard": is_hard(step, steps)}

    job = Job("toy", SyncTraining(network), draw, steps, 2e-3, 1000, 1, "d")
    rows = fit(job, make_fabric("32-true", 1), Path(tmp_path) / "none.pt", say=lambda _: None)
    assert rows[-1]["loss"] < 0.5 * rows[-1]["chance"] and job.alarms == []
    network.eval()
    for late in (0, 4):  # new faces and sounds, once in sync and once with the mouth 4 frames late
        new, answers = ToyReader(3, 140, seed=7, late=late), []
        for track in new.tracks:
            video = network.embed_video(new.frames(track.id, np.arange(140)))
            audio = network.embed_audio(new.feature(track.id, "mfcc_syncnet"), len(video) - 1)
            answers.append(found_offset(video[:-1][10:100], audio[10:100]))
        assert np.abs(np.array(answers) + late).max() <= 1, answers

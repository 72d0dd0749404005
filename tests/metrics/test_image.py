"""SSIM and PSNR against scikit-image, MS-SSIM against torchmetrics, their degenerate cases, and regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import image

pytest.importorskip("cv2")
reference = pytest.importorskip("skimage.metrics")


def picture(seed: int = 0, shape: tuple[int, ...] = (60, 80, 3)) -> np.ndarray:
    rows, columns = np.arange(shape[0])[:, None, None], np.arange(shape[1])[None, :, None]
    grain = np.random.default_rng(seed).normal(0, 12, (*shape[:2], 3))
    colour = np.clip(120 + 60 * np.sin(rows / 7 + seed) + 50 * np.cos(columns / 5) + grain, 0, 255).astype(np.uint8)
    return colour if len(shape) == 3 else colour[..., 0]


def noisy(a: np.ndarray, sigma: float, seed: int = 9) -> np.ndarray:
    return np.clip(a + np.random.default_rng(seed).normal(0, sigma, a.shape), 0, 255).astype(np.uint8)


@given(st.floats(0, 120), st.integers(0, 50), st.sampled_from([(60, 80, 3), (11, 11, 3), (11, 40), (33, 47)]))
@settings(max_examples=40, deadline=None)
def test_ssim_and_psnr_equal_scikit_image(sigma, seed, shape):
    a = picture(seed, shape)
    b = noisy(a, sigma, seed)
    channel = 2 if a.ndim == 3 else None
    expected = reference.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=channel
    )
    assert image.ssim(a, b) == pytest.approx(expected, abs=1e-5)
    if (a != b).any():
        assert image.psnr(a, b) == pytest.approx(reference.peak_signal_noise_ratio(a, b, data_range=255), abs=1e-9)


def test_the_map_equals_scikit_image_s_up_to_the_border():
    a, b = picture(3), noisy(picture(3), 25)
    _, expected = reference.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2, full=True
    )
    np.testing.assert_allclose(image.ssim_map(a, b), expected, atol=1e-5)


def test_both_are_symmetric_and_best_for_equal_images():
    a, b = picture(0), noisy(picture(0), 20)
    assert image.ssim(a, b) == pytest.approx(image.ssim(b, a)) and image.psnr(a, b) == image.psnr(b, a)
    assert image.ssim(a, a) == pytest.approx(1) and image.psnr(a, a) == image.PSNR_CAP_DB
    assert image.ssim(a, b) < 1 and image.psnr(a, b) < 40


def test_flat_images_have_an_ssim():
    black, white = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)
    assert image.ssim(black, black) == pytest.approx(1)
    assert image.ssim(black, white) == pytest.approx(1e-4, abs=1e-5)  # C1 / (255^2 + C1)
    assert image.psnr(black, white) == 0


def test_psnr_does_not_wrap_around():
    a = np.full((32, 32), 10, np.uint8)
    b = np.full((32, 32), 210, np.uint8)
    assert image.psnr(a, b) == pytest.approx(20 * np.log10(255 / 200))
    wrapped = np.mean((a - b) ** 2)  # in uint8, as the published script does
    assert 10 * np.log10(255**2 / wrapped) > 27


def test_the_published_script_cannot_go_below_27_9_db():
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 256, (400, 400), dtype=np.uint8) for _ in range(2))
    wrapped = 10 * np.log10(255**2 / np.mean((a - b) ** 2))
    assert wrapped == pytest.approx(27.9, abs=0.1) and image.psnr(a, b) < 8


def test_more_noise_is_worse():
    a = picture()
    scores = [(image.ssim(a, noisy(a, s)), image.psnr(a, noisy(a, s))) for s in (2, 8, 32, 90)]
    assert scores == sorted(scores, reverse=True)


def test_a_mask_looks_at_its_pixels_only():
    a = picture()
    b = a.copy()
    b[:, 40:] = noisy(a[:, 40:], 60)
    left, right = np.zeros((60, 80), bool), np.zeros((60, 80), bool)
    left[:, :34], right[:, 46:] = True, True
    assert image.psnr(a, b, left) == image.PSNR_CAP_DB and image.ssim(a, b, left) == pytest.approx(1)
    assert image.psnr(a, b, right) < 20 and image.ssim(a, b, right) < image.ssim(a, b) < 1
    everything = np.ones((60, 80), bool)
    assert image.ssim(a, b, everything) == pytest.approx(image.ssim(a, b))
    assert image.psnr(a, b, everything) == pytest.approx(image.psnr(a, b))
    border = np.zeros((60, 80), bool)
    border[:3] = True
    small, grey = np.zeros((5, 5), bool), np.ones((60, 80))
    for bad, match in ((border, "covers no pixel"), (small, "mask must be"), (grey, "mask must be")):
        with pytest.raises(ValueError, match=match):
            image.ssim(a, b, bad)
    with pytest.raises(ValueError, match="covers no pixel"):
        image.psnr(a, b, np.zeros((60, 80), bool))


def test_crop_takes_the_pixels_with_their_centres_inside():
    a = picture()
    np.testing.assert_array_equal(image.crop(a, (10, 20, 29, 39)), a[20:40, 10:30])
    np.testing.assert_array_equal(image.crop(a, (9.5, 19.2, 29.4, 39.9)), a[20:40, 10:30])
    np.testing.assert_array_equal(image.crop(a, (-50, -50, 500, 500)), a)
    with pytest.raises(ValueError, match="holds no pixel"):
        image.crop(a, (200, 0, 250, 10))


def test_clips_give_every_frame_and_the_mean():
    real = np.stack([picture(i) for i in range(3)])
    made = np.stack([real[0], noisy(real[1], 10), noisy(real[2], 40)])
    for one, clip in ((image.ssim, image.ssim_clip(real, made)), (image.psnr, image.psnr_clip(iter(real), iter(made)))):
        assert clip.per_frame == pytest.approx([one(a, b) for a, b in zip(real, made)], abs=1e-6)
        assert clip.mean == pytest.approx(clip.per_frame.mean()) and np.isfinite(clip.mean)
    for bad in (made[:2], made[:0]):
        with pytest.raises(ValueError, match="differ in length"):
            image.ssim_clip(real, bad)
    with pytest.raises(ValueError, match="no frames"):
        image.psnr_clip([], [])


@given(st.floats(0, 120), st.integers(0, 50), st.sampled_from([(60, 80, 3), (11, 11, 3), (11, 40), (33, 47)]))
@settings(max_examples=30, deadline=None)
def test_the_fast_ssim_of_clips_equals_scikit_image_to_six_decimals(sigma, seed, shape):
    a = picture(seed, shape)
    b = noisy(a, sigma, seed)
    expected = reference.structural_similarity(
        a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
        channel_axis=2 if a.ndim == 3 else None
    )
    assert image.ssim_clip([a], [b]).mean == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("level", [0, 3, 128, 200, 254])
def test_the_fast_ssim_is_exact_where_float32_is_weakest(level):
    """Flat and saturated pictures: the variance is a small difference of large numbers there."""
    flat = np.full((64, 64, 3), level, np.uint8)
    speckled = flat.copy()
    speckled[::2, ::3] += 1
    assert image.ssim_clip([flat], [flat]).mean == 1
    assert image.ssim_clip([flat], [speckled]).mean == pytest.approx(image.ssim(flat, speckled), abs=1e-6)


def test_frames_of_changing_size():
    pairs = [(picture(i, (20 + i % 3, 40, 3)), noisy(picture(i, (20 + i % 3, 40, 3)), 5 * i)) for i in range(20)]
    assert image.ssim_clip(*zip(*pairs)).per_frame == pytest.approx([image.ssim(a, b) for a, b in pairs], abs=1e-6)


# ---- MS-SSIM ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("shape", "sigma"), [((176, 180, 3), 10), ((201, 191, 3), 40), ((180, 177), 90), ((176, 176, 3), 0)])
def test_ms_ssim_equals_torchmetrics(shape, sigma):
    torch = pytest.importorskip("torch")
    torchmetrics = pytest.importorskip("torchmetrics.functional.image")
    a = picture(2, shape)
    b = noisy(a, sigma)
    tensors = [torch.from_numpy(np.atleast_3d(x).astype(np.float64)).permute(2, 0, 1)[None] for x in (a, b)]
    expected = float(torchmetrics.multiscale_structural_similarity_index_measure(*tensors, data_range=255.0))
    assert image.ms_ssim(a, b) == pytest.approx(expected, abs=1e-8)
    assert image.ms_ssim_clip([a, a], [b, a]).per_frame == pytest.approx([expected, 1], abs=1e-8)


def test_ms_ssim_of_opposites_is_zero_and_small_pictures_have_none():
    a = picture(0, (176, 176, 3))
    assert image.ms_ssim(a, 255 - a) == 0  # a negative structure term has no root
    with pytest.raises(ValueError, match="176 x 176"):
        image.ms_ssim(a[:175], a[:175])
    assert image.ms_ssim(a[:20, :20], a[:20, :20], weights=(1.0,)) == pytest.approx(1)
    with pytest.raises(ValueError, match="one scale"):
        image.ms_ssim(a, a, weights=())


@pytest.mark.parametrize("b", [picture().astype(float), picture()[:, :-1], picture()[None]])
def test_unlike_images_are_refused(b):
    for metric in (image.ssim, image.psnr):
        with pytest.raises(ValueError, match="two uint8 images"):
            metric(picture(), b)


def test_tiny_images_have_no_ssim():
    with pytest.raises(ValueError, match="11 x 11"):
        image.ssim(np.zeros((10, 50), np.uint8), np.zeros((10, 50), np.uint8))

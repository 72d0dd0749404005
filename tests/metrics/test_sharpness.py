"""CPBD against figures of the published port, and what a sharpness must do."""

from __future__ import annotations

import numpy as np
import pytest

from metrics import sharpness

pytest.importorskip("skimage")
ndimage = pytest.importorskip("scipy.ndimage")


def discs(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    picture = np.full((height, width), 110.0)
    for _ in range(14):
        cx, cy, radius, step = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(5, height / 5), rng.uniform(-90, 90)
        picture += step * (((x - cx) ** 2 + (y - cy) ** 2) < radius * radius)
    return np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255)


def grey(picture: np.ndarray, sigma: float = 0.0) -> np.ndarray:
    return np.round(ndimage.gaussian_filter(picture, sigma) if sigma else picture).astype(np.uint8)


# What the package cpbd 1.0.7 (a port of the authors' release) prints for these pictures, with scikit-image 0.26.
@pytest.mark.parametrize(("seed", "shape", "sigma", "expected"), [
    (0, (128, 128), 0, 0.831615120274914), (0, (128, 128), 0.8, 0.1919642857142857), (1, (130, 200), 0, 0.9046454767726162),
    (1, (130, 200), 0.8, 0.17619047619047618), (2, (192, 256), 0, 0.8647925033467202), (2, (192, 256), 0.8, 0.12542372881355932),
    (2, (192, 256), 1.6, 0.0), (3, (64, 64), 0, 0.7868852459016393), (3, (64, 64), 0.8, 0.12121212121212122),
])
def test_the_values_of_the_published_port(seed, shape, sigma, expected):
    assert sharpness.cpbd(grey(discs(seed, *shape), sigma)) == pytest.approx(expected, abs=1e-12)


def test_more_blur_is_less_sharp_and_stays_in_bounds():
    picture = discs(5, 192, 192)
    values = [sharpness.cpbd(grey(picture, sigma)) for sigma in (0, 0.5, 0.7, 0.9, 1.2, 4)]
    assert values == sorted(values, reverse=True) and values[0] > 0.7 and values[-1] == 0
    assert all(0 <= v <= 1 for v in values)


def test_a_picture_without_edges_is_not_sharp():
    assert sharpness.cpbd(np.full((64, 64), 90, np.uint8)) == 0


def test_mirroring_changes_nothing_and_a_rest_of_a_block_does_not_count():
    picture = grey(discs(6, 128, 128))
    assert sharpness.cpbd(picture[:, ::-1]) == pytest.approx(sharpness.cpbd(picture), abs=0.02)
    wide = np.pad(picture, ((0, 40), (0, 40)), mode="edge")
    assert sharpness.cpbd(wide) == pytest.approx(sharpness.cpbd(picture), abs=0.02)


def test_the_width_of_a_ramp_is_its_length():
    """A ramp up of 4 steps and one down of 2, between flat ground: widths by hand."""
    row = np.array([20.0] * 8 + [20, 60, 120, 180, 200] + [200] * 8 + [200, 110, 20] + [20] * 8)
    widths = sharpness.edge_widths(np.tile(row, (9, 1)) + np.arange(9)[:, None] * 1e-3)
    found = {int(c): int(widths[4, c]) for c in np.flatnonzero(widths[4])}
    assert set(found.values()) == {4, 2} and found[10] == 4


def test_grey_is_the_luma():
    rgb = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    cv2 = pytest.importorskip("cv2")
    assert np.abs(sharpness.to_grey(rgb).astype(int) - cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)).max() <= 1
    assert sharpness.to_grey(np.full((2, 2, 3), 255, np.uint8)).max() == 255


@pytest.mark.parametrize("bad", [np.zeros((63, 64), np.uint8), np.zeros((64, 64)), np.zeros((64, 64, 3), np.uint8)])
def test_unusable_pictures_are_refused(bad):
    with pytest.raises(ValueError, match="64 x 64"):
        sharpness.cpbd(bad)

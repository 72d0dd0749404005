"""Picture similarity of generated frames to real ones: SSIM, MS-SSIM and PSNR, per frame and per clip, whole or in a region.

Images are uint8 (H, W, 3) RGB or (H, W) grey, clips (T, H, W, 3) or (T, H, W) or any iterable of frames. To score a region, cut
it out with `crop` (its border then is the image's border), or pass a boolean mask over the whole image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from metrics.ssim_fast import FastSsim

PSNR_CAP_DB = 100.0
SSIM_MIN_SIDE = 11
MS_SSIM_MIN_SIDE = 176  # the coarsest of five scales must still hold a window of 11 pixels
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_SIGMA, _RADIUS = 1.5, 5  # an 11 x 11 Gaussian window
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


@dataclass(frozen=True, slots=True)
class ClipScore:
    """The mean over a clip's frames and the value of every frame, float64 (T,)."""

    mean: float
    per_frame: np.ndarray


def ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Structural similarity of two uint8 images, 1 for equal ones, averaged over channels and pixels; at least 11 x 11 pixels.

    Gaussian window of 11 pixels with sigma 1.5, population covariance, K1 = 0.01, K2 = 0.03, range 255; the outer 5 pixels do not
    count. These are the settings of Wang et al. 2004, and the values of scikit-image with gaussian_weights=True,
    use_sample_covariance=False, data_range=255. mask: bool (H, W), only these pixels count; ValueError when none of them lies
    inside the border.
    """
    inside = (slice(_RADIUS, -_RADIUS), slice(_RADIUS, -_RADIUS))
    values = ssim_map(a, b)[inside]
    return float((values if mask is None else _masked(values, mask, a, inside)).mean())


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Local structural similarity of two uint8 images at every pixel: float64 (H, W, C) or (H, W). See `ssim`."""
    import cv2

    _same(a, b)
    _large_enough(a, SSIM_MIN_SIDE, "SSIM")
    luminance, contrast = _terms(a.astype(np.float64), b.astype(np.float64), cv2.BORDER_REFLECT)
    return luminance * contrast


def ms_ssim(a: np.ndarray, b: np.ndarray, weights: Sequence[float] = MS_SSIM_WEIGHTS) -> float:
    """Structural similarity of two uint8 images over five scales, in [0, 1], 1 for equal ones; at least 176 x 176 pixels.

    The product over scales of the mean contrast-structure term, at the coarsest of the whole SSIM, each to the power of its
    weight; a negative term counts as 0; each scale is the 2 x 2 mean of the one before. Source: Wang, Simoncelli & Bovik 2003;
    borders and windows as torchmetrics' multiscale_structural_similarity_index_measure, whose values these are.
    """
    import cv2

    _same(a, b)
    if not len(weights):
        raise ValueError("MS-SSIM needs the weight of at least one scale")
    _large_enough(a, (2 * _RADIUS + 1) * max(1, len(weights) - 1) ** 2, "MS-SSIM")
    x, y = a.astype(np.float64), b.astype(np.float64)
    product = 1.0
    for scale, weight in enumerate(weights):
        if scale:
            x, y = _halved(x), _halved(y)
        luminance, contrast = _terms(x, y, cv2.BORDER_REFLECT_101)
        last = scale == len(weights) - 1
        # torchmetrics averages the whole SSIM with its mirrored border, the contrast term without: kept, to be comparable
        term = (luminance * contrast).mean() if last else contrast[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS].mean()
        product *= max(0.0, float(term)) ** weight
    return product


def psnr(a: np.ndarray, b: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of two uint8 images in dB, over all pixels and channels; equal images get 100 (PSNR_CAP_DB).

    10 log10(255^2 / mean squared error), in floating point. A widely used script of the field subtracts and squares in uint8,
    where both wrap around: the wrapped squares of unrelated pictures average about 105, so it cannot print less than about
    27.9 dB, and the published LRW and GRID figures of 28-32 dB may be such values. Do not compare with them. The cap keeps means
    finite: an error of one grey level in one pixel of a 256 x 256 image is 101 dB.
    """
    _same(a, b)
    squares = np.square(a.astype(np.float64) - b.astype(np.float64))
    error = float((squares if mask is None else _masked(squares, mask, a)).mean())
    return min(PSNR_CAP_DB, 10 * float(np.log10(255**2 / error))) if error > 0 else PSNR_CAP_DB


def ssim_clip(real: Iterable[np.ndarray], generated: Iterable[np.ndarray]) -> ClipScore:
    """SSIM of every frame of a clip and its mean, in float32 and several times as fast as `ssim`: within 1e-6 of its values.

    Raises ValueError when the clips differ in length or are empty.
    """
    fast = FastSsim()
    values = []
    for a, b in _pairs(real, generated):
        _same(a, b)
        _large_enough(a, SSIM_MIN_SIDE, "SSIM")
        values.append(fast(a, b))
    return _score(values)


def ms_ssim_clip(real: Iterable[np.ndarray], generated: Iterable[np.ndarray]) -> ClipScore:
    """MS-SSIM of every frame of a clip and its mean. Raises ValueError when the clips differ in length or are empty."""
    return _score([ms_ssim(a, b) for a, b in _pairs(real, generated)])


def psnr_clip(real: Iterable[np.ndarray], generated: Iterable[np.ndarray]) -> ClipScore:
    """PSNR of every frame of a clip in dB and its mean over frames. Raises ValueError when the clips differ in length or are
    empty."""
    return _score([psnr(a, b) for a, b in _pairs(real, generated)])


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pixels of an image (H, W[, C]) whose centres lie in a box (x0, y0, x1, y1), clipped to the image: a view, not a copy.

    Raises ValueError when the box misses the image.
    """
    height, width = image.shape[:2]
    x0, y0, x1, y1 = np.asarray(box, dtype=np.float64)
    left, top = max(0, int(np.ceil(x0))), max(0, int(np.ceil(y0)))
    right, bottom = min(width, int(np.floor(x1)) + 1), min(height, int(np.floor(y1)) + 1)
    if right <= left or bottom <= top:
        raise ValueError(f"box {(x0, y0, x1, y1)} holds no pixel of an image of {width} x {height}")
    return image[top:bottom, left:right]


def _terms(x: np.ndarray, y: np.ndarray, border: int) -> tuple[np.ndarray, np.ndarray]:
    """The luminance term and the contrast-structure term of SSIM at every pixel of two float64 images."""
    import cv2

    def blur(image: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(image, (2 * _RADIUS + 1,) * 2, _SIGMA, borderType=border)

    mean_x, mean_y = blur(x), blur(y)
    xx, yy, xy = mean_x * mean_x, mean_y * mean_y, mean_x * mean_y
    var_sum, covariance = blur(x * x + y * y) - xx - yy, blur(x * y) - xy
    return (2 * xy + _C1) / (xx + yy + _C1), (2 * covariance + _C2) / (var_sum + _C2)


def _halved(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    even = image[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _pairs(real: Iterable[np.ndarray], generated: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for n, (a, b) in enumerate(zip_longest(real, generated)):
        if a is None or b is None:
            raise ValueError(f"the clips differ in length: one ends after {n} frames")
        yield a, b


def _score(values: list[float]) -> ClipScore:
    if not values:
        raise ValueError("the clips have no frames")
    per_frame = np.array(values)
    return ClipScore(float(per_frame.mean()), per_frame)


def _same(a: np.ndarray, b: np.ndarray) -> None:
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.shape != b.shape or a.ndim not in (2, 3) or not a.size:
        raise ValueError(f"need two uint8 images of one shape, not {a.dtype} {a.shape} and {b.dtype} {b.shape}")


def _large_enough(image: np.ndarray, side: int, name: str) -> None:
    if min(image.shape[:2]) < side:
        raise ValueError(f"{name} needs images of at least {side} x {side} pixels, not {image.shape[1]} x {image.shape[0]}")


def _masked(
    values: np.ndarray, mask: np.ndarray, image: np.ndarray, inside: tuple[slice, slice] = (slice(None), slice(None))
) -> np.ndarray:
    """The values (of the part `inside` of the image) where the mask is set; never none."""
    if mask.dtype != bool or mask.shape != image.shape[:2]:
        raise ValueError(f"mask must be bool {image.shape[:2]}, not {mask.dtype} {mask.shape}")
    chosen = values[mask[inside]]
    if not chosen.size:
        raise ValueError("the mask covers no pixel that counts")
    return chosen

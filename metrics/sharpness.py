"""How sharp a picture is without a reference: the cumulative probability of blur detection (CPBD).

Source: Narvekar & Karam 2011, "A no-reference image blur metric based on the cumulative probability of blur detection". The
constants and the order of steps are those of the authors' release as its published Python port runs it, whose values these are.
"""

from __future__ import annotations

import numpy as np

BLOCK = 64
_EDGE_SHARE = 0.002  # a block with fewer Canny pixels is no edge block
_BETA = 3.6
_LOW_CONTRAST, _WIDTH_LOW, _WIDTH_HIGH = 50, 5.0, 3.0  # just noticeable edge width in pixels, up to this contrast and above it
_NOTICED = 63  # per cent: the probability of seeing the blur of an edge of just noticeable width
_LONGEST = 100  # steps that an edge is followed


def cpbd(grey: np.ndarray) -> float:
    """The share of edges whose blur nobody would notice, in [0, 1], higher is sharper; 0 when there are no edges at all.

    grey: uint8 (H, W), at least 64 x 64 (see `to_grey`); rows and columns beyond the last whole block of 64 do not count.
    It depends on the picture's size: compare only pictures of one size and one region. ValueError for another shape or type.
    """
    from skimage.feature import canny

    if grey.dtype != np.uint8 or grey.ndim != 2 or min(grey.shape) < BLOCK:
        raise ValueError(f"CPBD needs a grey uint8 image of at least {BLOCK} x {BLOCK}, not {grey.dtype} {grey.shape}")
    image = grey.astype(np.float64)
    canny_edges, widths = canny(image), edge_widths(image)
    n_seen = n_edges = 0
    for top in range(0, grey.shape[0] - BLOCK + 1, BLOCK):
        for left in range(0, grey.shape[1] - BLOCK + 1, BLOCK):
            block = slice(top, top + BLOCK), slice(left, left + BLOCK)
            if np.count_nonzero(canny_edges[block]) <= _EDGE_SHARE * BLOCK**2:
                continue
            contrast = int(grey[block].max()) - int(grey[block].min())
            noticeable = _WIDTH_LOW if contrast <= _LOW_CONTRAST else _WIDTH_HIGH
            width = widths[block][widths[block] > 0]
            per_cent = np.round(100 * (1 - np.exp(-((width / noticeable) ** _BETA))))
            n_seen += int(np.count_nonzero(per_cent <= _NOTICED))
            n_edges += width.size
    return n_seen / n_edges if n_edges else 0.0


def edge_widths(image: np.ndarray) -> np.ndarray:
    """Width in pixels of every vertical edge of a float64 (H, W) image, 0 where there is none: int64 (H, W).

    An edge lies where the horizontal Sobel response is a local maximum above its threshold and the gradient points within 22.5
    degrees of left or right; its width runs to the nearest local extrema on both sides (Marziliano et al. 2002).
    """
    slope_y, slope_x = np.gradient(image)
    eighth = np.round(np.degrees(np.arctan2(slope_y, slope_x)) / 45)
    # where nothing changes from left to right the release leaves the angle at 0, whatever happens from top to bottom
    rising = (eighth == 0) | (slope_x == 0)
    falling = (np.abs(eighth) == 4) & ~rising
    edges = _sobel_edges(image)
    edges[[0, -1]] = edges[:, [0, -1]] = False
    step = np.diff(image, axis=1)
    up, down = _extent(step > 0), _extent(step < 0)
    return np.where(edges & rising, up, 0) + np.where(edges & falling, down, 0)


def to_grey(rgb: np.ndarray) -> np.ndarray:
    """The luma of RGB images, rounded: uint8 (..., H, W) from uint8 (..., H, W, 3), with the weights of ITU-R BT.601."""
    return np.round(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)


def _extent(steps: np.ndarray) -> np.ndarray:
    """How far an edge at every pixel reaches, both sides together: int64 (H, W) from bool (H, W - 1), the steps that go its way.

    On either side: one pixel, and one more for each further step of the same direction.
    """
    height, n_steps = steps.shape
    columns = np.arange(n_steps)
    last_break = np.maximum.accumulate(np.where(steps, -1, columns), axis=1)
    ending = columns - last_break  # unbroken steps that end with this one
    next_break = np.minimum.accumulate(np.where(steps, n_steps, columns)[:, ::-1], axis=1)[:, ::-1]
    starting = next_break - columns
    left, right = (np.zeros((height, n_steps + 1), dtype=np.int64) for _ in range(2))
    left[:, 2:] = ending[:, :-1]  # of pixel c: the steps that end at pixel c - 1
    right[:, :-2] = starting[:, 1:]
    return np.minimum(left, _LONGEST) + np.minimum(right, _LONGEST) + 2


def _sobel_edges(image: np.ndarray) -> np.ndarray:
    """Vertical edges as GNU Octave's edge(): squared response above twice its root mean, thinned to local maxima: bool (H, W)."""
    from scipy.ndimage import correlate1d

    response = np.square(correlate1d(correlate1d(image, [-0.5, 0, 0.5], axis=1), [0.25, 0.5, 0.25], axis=0))
    response[response <= 2 * np.sqrt(response.mean())] = 0
    padded = np.pad(response, 1)
    across = (response > padded[1:-1, :-2]) & (response > padded[1:-1, 2:])
    along = (response > padded[:-2, 1:-1]) & (response > padded[2:, 1:-1])
    return across | along

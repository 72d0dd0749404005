"""The rendered face: its truth is exact, its mouth does what it is told, people differ, and a landmarker agrees."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.synthetic.calibration import LANDMARKS
from corpora.synthetic.face import Identity, sample_identity
from corpora.synthetic.mesh import FIELDS, MAX_DROP_MM, grid
from corpora.synthetic.render import POINTS, head, mouth_weights, render, rotations, truth_mouth, truth_points
from corpora.synthetic.state import FaceMotion
from corpora.synthetic.visemes import VISEMES

MIRROR = {33: 263, 133: 362, 61: 291, 78: 308, 82: 312, 98: 327, 105: 334, 50: 280}


def person(seed: int = 5) -> Identity:
    return sample_identity(np.random.default_rng(seed))


def at(points: np.ndarray, index: int) -> np.ndarray:
    return points[..., POINTS.index(index), :]


def series(**values: object) -> FaceMotion:
    """A motion whose named fields are lists; the others rest."""
    n = len(next(iter(values.values())))
    rest = FaceMotion.still(n)
    return replace(rest, **{name: np.asarray(value, np.float32) for name, value in values.items()})


def test_same_identity_same_bytes_and_noise_from_its_generator() -> None:
    motion = series(open=[0, 0.7], yaw=[0, 20], blink=[0, 0.5])
    first, again = np.stack(list(render(person(), motion))), np.stack(list(render(person(), motion)))
    assert first.shape == (2, 256, 256, 3) and first.dtype == np.uint8
    assert first.tobytes() == again.tobytes()
    noisy = [np.stack(list(render(person(), motion, noise_rng=np.random.default_rng(s)))) for s in (1, 1, 2)]
    assert noisy[0].tobytes() == noisy[1].tobytes() != noisy[2].tobytes()
    assert 0.5 < (noisy[0].astype(float) - first).std() < 2.5


def test_a_frame_does_not_depend_on_the_frames_before_it() -> None:
    motion = series(open=[0.9, 0.2], tuck=[0.5, 0], tongue=[1, 0], yaw=[-25, 10], light=[0.7, 1.1])
    last = list(render(person(), motion))[1]
    alone = next(render(person(), series(open=[0.2], tuck=[0], tongue=[0], yaw=[10], light=[1.1])))
    assert last.tobytes() == alone.tobytes()


@pytest.mark.parametrize("field", [f.name for f in fields(Identity) if f.type == "float"])
def test_identities_differ_in_every_number(field: str) -> None:
    values = {getattr(person(seed), field) for seed in range(60)}
    assert len(values) > {"glasses": 1, "freckles": 5, "beard": 5}.get(field, 10)


def test_identities_look_different() -> None:
    frames = [next(render(person(seed), FaceMotion.still(1), size=64)).astype(float)[16:56, 16:48] for seed in range(6)]
    gaps = [np.abs(a - b).mean() for k, a in enumerate(frames) for b in frames[:k]]
    assert min(gaps) > 8  # of 255, inside the face


def test_press_closes_and_open_opens() -> None:
    steps = np.linspace(0, 1, 9)
    gap = truth_mouth(person(), series(open=steps))["gap"]
    assert gap[0] == 0 and (np.diff(gap) > 0).all()
    eye_distance = head(person()).eye_distance_mm
    assert gap[-1] == pytest.approx(MAX_DROP_MM / eye_distance, rel=1e-4)
    pressed = truth_mouth(person(), series(open=steps, press=np.ones(9), tuck=steps, tongue=steps))["gap"]
    np.testing.assert_allclose(pressed, 0, atol=1e-6)


def test_rounding_narrows_and_spreading_widens_the_mouth() -> None:
    width = truth_mouth(person(), series(wide=[-1, -0.5, 0, 0.5, 1]))["width"]
    assert (np.diff(width) > 0.02).all() and width[0] < 0.75 * width[2]


@given(yaw=st.floats(-30, 30), pitch=st.floats(-15, 15), roll=st.floats(-40, 40), dx=st.floats(-0.1, 0.1), dy=st.floats(-0.1,
                                                                                                                        0.1),
       scale=st.floats(0.6, 1.2), opened=st.floats(0, 1))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_roll_scale_and_translation_are_similarities(yaw, pitch, roll, dx, dy, scale, opened) -> None:
    base = truth_points(person(), FaceMotion.still(1, yaw=yaw, pitch=pitch, open=opened))[0]
    moved = truth_points(person(), FaceMotion.still(1, yaw=yaw, pitch=pitch, open=opened, roll=roll, dx=dx, dy=dy,
                                                    scale=scale))[0]
    a = np.radians(roll)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    expected = 127.5 + 256 * np.array([dx, dy]) + scale * (base - 127.5) @ turn.T
    np.testing.assert_allclose(moved, expected, atol=2e-3)


def test_signs_of_the_pose() -> None:
    still, right, down, clockwise = truth_points(person(), series(yaw=[0, 20, 0, 0], pitch=[0, 0, 12, 0], roll=[0, 0, 0, 15]))
    assert at(right, 4)[0] > at(still, 4)[0] + 10
    assert at(down, 4)[1] > at(still, 4)[1] + 5
    assert at(clockwise, 263)[1] > at(still, 263)[1] + 5 and at(clockwise, 33)[1] < at(still, 33)[1] - 5
    turn = rotations(FaceMotion.still(2, yaw=25, pitch=-8, roll=13))
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-12)


def test_points_are_inside_the_frame_scale_with_it_and_mirror() -> None:
    motion = series(yaw=[0, -30, 30, 0, 0], pitch=[0, 0, 0, -15, 15], open=[0, 1, 1, 1, 1])
    assert tuple(LANDMARKS) == POINTS and len(set(POINTS)) == len(POINTS) and max(POINTS) < 468
    for seed in range(4):
        points = truth_points(person(seed), motion)
        assert points.dtype == np.float32 and points.shape == (5, len(POINTS), 2)
        assert points.min() > 0 and points.max() < 255
        half = truth_points(person(seed), motion, size=128)
        np.testing.assert_allclose((points + 0.5) / 2 - 0.5, half, atol=1e-3)
        for left, right in MIRROR.items():  # yaw -30 is yaw 30 seen in a mirror
            np.testing.assert_allclose(at(points, left)[1], (255 - at(points, right)[2][0], at(points, right)[2][1]), atol=0.02)
    frontal = truth_points(person(), FaceMotion.still(1))[0]
    assert at(frontal, 33)[0] < at(frontal, 133)[0] < at(frontal, 362)[0] < at(frontal, 263)[0]
    heights = [at(frontal, k)[1] for k in (105, 159, 145, 4, 2, 0, 13, 14, 17, 152)]
    assert (np.diff(heights) > 0).all()
    assert 0.38 < (at(frontal, 152)[1] - at(frontal, 105)[1]) / 256 < 0.52  # brow to chin


def test_lids_close() -> None:
    opened, closed = truth_points(person(), series(blink=[0, 1]))
    assert at(opened, 145)[1] - at(opened, 159)[1] > 5
    g, h = grid(), head(person())
    surface = h.deform(mouth_weights(FaceMotion.still(1, blink=1))[0])
    np.testing.assert_allclose(surface[g.eye, :, 1], surface[g.eye + 1, :, 1], atol=1e-3)
    assert mouth_weights(FaceMotion.still(3)).shape == (3, len(FIELDS))


def test_surface_does_not_fold_in_any_viseme() -> None:
    """Rows of the grid keep their order on the front of the face, whatever the mouth does."""
    g = grid()
    front = np.abs(g.theta) < 60
    for seed in range(5):
        for name, target in VISEMES.items():
            y = head(person(seed)).deform(mouth_weights(FaceMotion.still(1, **target))[0])[..., 1]
            rows = (g.t > -60) & (g.t < 104)
            steps = np.diff(y[rows][:, front], axis=0)
            assert steps.min() > -0.25, f"{name}: rows cross by {-steps.min():.2f} mm"


def _luma(frame: np.ndarray, point: np.ndarray) -> float:
    x, y = np.rint(point).astype(int)
    return float(frame[y - 1:y + 2, x - 1:x + 2].mean())


def test_picture_agrees_with_the_truth() -> None:
    """At the true middle of an open mouth it is dark; pupils are darker than the skin; the background is where no face is."""
    motion = series(open=[1.0, 1.0, 1.0], yaw=[0, 18, -18], roll=[0, 8, -8], dx=[0, 0.05, -0.05])
    for seed in (0, 5, 9):
        points, frames = truth_points(person(seed), motion), list(render(person(seed), motion))
        for p, frame in zip(points, frames, strict=True):
            gap = at(p, 13) * 0.45 + at(p, 14) * 0.55
            assert _luma(frame, gap) < 0.6 * _luma(frame, at(p, 152) * 0.3 + at(p, 17) * 0.7)
            assert _luma(frame, gap) < 0.6 * _luma(frame, at(p, 50))


def test_teeth_tongue_and_tuck_change_the_picture_of_the_mouth() -> None:
    names = ("none", "teeth", "tongue", "tuck")
    motion = series(open=[0.4] * 4, teeth=[0, 1, 0, 0.9], tongue=[0, 0, 1, 0], tuck=[0, 0, 0, 1])
    frames = dict(zip(names, (f.astype(float) for f in render(person(), motion)), strict=True))
    points = truth_points(person(), motion)
    x0, x1 = int(at(points[0], 82)[0]), int(at(points[0], 312)[0])
    y0, y1 = int(at(points[0], 13)[1]), int(at(points[0], 14)[1])
    inside = {name: frame[y0:y1, x0:x1] for name, frame in frames.items()}
    assert inside["teeth"].mean() > inside["none"].mean() + 20
    red = {name: (box[..., 0] - box[..., 2]).mean() for name, box in inside.items()}
    assert red["tongue"] > red["none"] + 10
    assert truth_mouth(person(), motion)["gap"][3] < 0.6 * truth_mouth(person(), motion)["gap"][0]


def test_light_makes_it_brighter_and_size_scales_the_picture() -> None:
    dim, normal, bright = (next(render(person(), FaceMotion.still(1, light=v))).mean() for v in (0.6, 1.0, 1.4))
    assert dim < normal < bright
    small, large = (next(render(person(), FaceMotion.still(1), size=size)) for size in (128, 256))
    assert small.shape == (128, 128, 3)
    assert abs(small[30:100, 30:100].mean() - large[60:200, 60:200].mean()) < 6


@pytest.fixture(scope="module")
def read(shared):
    """The landmarker of the benchmark."""
    from bench.realism import reader

    return reader(shared / "models")


def test_landmarker_agrees_with_the_truth(read) -> None:
    errors = []
    for seed, yaw, pitch in ((1000, 0, 0), (1001, 25, 0), (1002, -25, 10), (1003, 0, -12)):
        motion = FaceMotion.still(1, yaw=yaw, pitch=pitch, open=0.3)
        truth, seen = truth_points(person(seed), motion)[0], read(next(render(person(seed), motion)))
        assert seen is not None, f"no face found in seed {seed}"
        errors.append(np.linalg.norm(seen[list(POINTS)] - truth, axis=1).mean() / np.linalg.norm(at(truth, 33) - at(truth, 263)))
    assert np.mean(errors) < 0.05


def test_landmarker_follows_the_lip_gap(read) -> None:
    from bench.realism import lip_gap_correlation, speaking

    motion = speaking(40, np.random.default_rng(3))
    value, n = lip_gap_correlation(render(person(1000), motion), truth_mouth(person(1000), motion)["gap"], read)
    assert n == 40 and value > 0.93

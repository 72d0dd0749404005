"""LVE against torchmetrics, FDD by hand, and their degenerate cases."""

from __future__ import annotations

import numpy as np
import pytest

from metrics import mesh3d

LIPS = [1, 4, 7]


def meshes(seed: int = 0, t: int = 12, v: int = 10) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(t, v, 3)), rng.normal(size=(t, v, 3))


def test_the_lip_vertex_error_equals_torchmetrics():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.multimodal")
    real, made = meshes()
    expected = float(functional.lip_vertex_error(torch.from_numpy(made), torch.from_numpy(real), LIPS))
    assert mesh3d.lip_vertex_error(real, made, LIPS) == pytest.approx(expected)


def test_the_lip_vertex_error_by_hand():
    real = np.zeros((2, 5, 3))
    made = real.copy()
    made[0, 1] = 3, 4, 0
    made[0, 4] = 1, 0, 0
    made[1, 4] = 0, 0, 2
    made[:, 0] = 99  # no lip
    assert mesh3d.lip_vertex_error(real, made, [1, 4]) == (25 + 4) / 2
    assert mesh3d.lip_vertex_error(real, made, [1, 4], "distance") == (5 + 2) / 2
    assert mesh3d.lip_vertex_error(made, made, [1, 4]) == 0


def test_the_square_of_the_mean_distance_never_exceeds_the_mean_square():
    real, made = meshes(3)
    assert mesh3d.lip_vertex_error(real, made, LIPS, "distance") ** 2 <= mesh3d.lip_vertex_error(real, made, LIPS)


def test_the_upper_face_by_hand():
    template = np.ones((3, 3))
    real = np.tile(template, (4, 1, 1))
    real[:, 0, 0] += [0, 1, 0, 1]  # squared distance 0, 1, 0, 1: standard deviation 0.5
    still = np.tile(template, (4, 1, 1))
    assert mesh3d.upper_face_dynamics_deviation(real, still, template, [0]) == 0.5
    assert mesh3d.upper_face_dynamics_deviation(real, still, template, [0, 1]) == 0.25
    assert mesh3d.upper_face_dynamics_deviation(still, real, template, [0]) == -0.5
    assert mesh3d.upper_face_dynamics_deviation(real, real, template, [0, 1]) == 0


def test_a_common_shift_of_mesh_and_template_changes_nothing():
    real, made = meshes(5)
    template = real.mean(0)
    assert mesh3d.upper_face_dynamics_deviation(real + 7, made + 7, template + 7, [0, 2]) == pytest.approx(
        mesh3d.upper_face_dynamics_deviation(real, made, template, [0, 2]))
    assert mesh3d.lip_vertex_error(real + 7, made + 7, LIPS) == pytest.approx(mesh3d.lip_vertex_error(real, made, LIPS))


def test_unusable_meshes_are_refused():
    real, made = meshes()
    for a, b in ((real, made[:-1]), (real[:0], made[:0]), (real[..., :2], made[..., :2])):
        with pytest.raises(ValueError, match="meshes must"):
            mesh3d.lip_vertex_error(a, b, LIPS)
    for lips in ([], [10], [-1]):
        with pytest.raises(ValueError, match="vertices must"):
            mesh3d.lip_vertex_error(real, made, lips)
    with pytest.raises(ValueError, match="NaN"):
        mesh3d.lip_vertex_error(real, made * np.nan, LIPS)
    with pytest.raises(ValueError, match="variant"):
        mesh3d.lip_vertex_error(real, made, LIPS, "mean")
    with pytest.raises(ValueError, match="template"):
        mesh3d.upper_face_dynamics_deviation(real, made, real, [0])

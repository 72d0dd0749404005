"""Face recognition over a stand-in network written by hand: alignment, colours, and the cosine that comes out."""

from __future__ import annotations

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from core import weights  # noqa: E402
from metrics.identity import identity_similarity  # noqa: E402
from models.experts.identity import WEIGHTS, five_points, open_recognizer  # noqa: E402
from tests.models import tiny_onnx  # noqa: E402

# Where SFace wants the five points in its 112 x 112 template: InsightFace's, the person's right side first.
TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
                    np.float32)


@pytest.fixture(scope="module")
def recognizer(tmp_path_factory):
    return open_recognizer(tiny_onnx.write(tmp_path_factory.mktemp("sface") / "standin.onnx", tiny_onnx.matrix()))


def picture(seed: int = 0, height: int = 220, width: int = 260) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    rng = np.random.default_rng(seed)
    waves = [127 + 100 * np.sin(x * rng.uniform(0.01, 0.06) + y * rng.uniform(0.01, 0.06) + rng.uniform(0, 6)) for _ in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def test_the_embedding_is_the_networks_of_the_aligned_face_in_rgb(recognizer):
    frame, points = picture(), TEMPLATE * 1.3 + (40, 30)
    aligned = recognizer.align(frame, points)
    found = recognizer.embed([frame], points[None])
    assert found.shape == (1, 128) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], tiny_onnx.expected(aligned, tiny_onnx.matrix()), rtol=1e-4, atol=0.05)


def test_points_on_the_template_cut_the_picture_straight_out(recognizer):
    frame = picture(1)
    np.testing.assert_allclose(recognizer.align(frame, TEMPLATE + (50, 40)).astype(int), frame[40:152, 50:162], atol=2)


def test_a_face_moved_scaled_and_turned_with_its_points_stays_the_same_person(recognizer):
    frame, points = picture(2, 400, 400), TEMPLATE * 1.5 + (120, 110)
    turn = cv2.getRotationMatrix2D((200, 200), 20, 0.8)
    turned = cv2.warpAffine(frame, turn, (400, 400))
    moved = points @ turn[:, :2].T + turn[:, 2]
    same = identity_similarity(recognizer.embed([frame], points[None]), recognizer.embed([turned], moved[None]))
    other = identity_similarity(recognizer.embed([frame], points[None]), recognizer.embed([picture(9, 400, 400)], points[None]))
    assert same > 0.999 > other + 0.005


def test_five_points_of_the_mesh():
    mesh = np.zeros((2, 478, 2), np.float32)
    mesh[:, 33], mesh[:, 133], mesh[:, 362], mesh[:, 263] = (10, 20), (30, 22), (50, 22), (70, 20)
    mesh[:, 1], mesh[:, 61], mesh[:, 291] = (40, 40), (28, 60), (52, 60)
    np.testing.assert_array_equal(five_points(mesh)[1], [[20, 21], [60, 21], [40, 40], [28, 60], [52, 60]])


def test_unusable_input_is_refused(recognizer, tmp_path):
    with pytest.raises(ValueError, match="1 frames but 0"):
        recognizer.embed([picture()], np.zeros((0, 5, 2)))
    with pytest.raises(ValueError, match="5 finite points"):
        recognizer.embed([picture()], np.full((1, 5, 2), np.nan))
    with pytest.raises(ValueError, match="uint8"):
        recognizer.embed([picture().astype(float)], TEMPLATE[None])
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    for name, match in (("bad.onnx", "cannot be read"), ("none.onnx", "no such")):
        with pytest.raises(ValueError, match=match):
            open_recognizer(tmp_path / name)


def test_its_weights_are_in_the_table():
    assert weights.lookup(WEIGHTS).licence == "Apache-2.0" and weights.lookup(WEIGHTS).sha256


def test_real_weights_tell_people_apart(shared):
    """Runs where SFace's weights are; says so where not."""
    from core import media
    from models.experts.finder import open_finder

    try:
        found = weights.find(WEIGHTS, fetch=False)
    except weights.WeightsMissing as error:
        pytest.skip(f"no SFace weights here: {str(error).splitlines()[0]}")
    finder, recognizer = open_finder(shared / "models" / "yunet_n_dynamic.onnx"), open_recognizer(found.path)
    embedded = []
    for name in ("hdtf_katiehill.mp4", "grid_bbaf2n.mpg"):
        frames = list(media.read_frames(shared / "real" / "clips" / name, stop=20))[::10]
        points = np.stack([finder.find(f)[0].points for f in frames])
        embedded.append(recognizer.embed(frames, points))
    same = min(identity_similarity(e[:1], e[1:]) for e in embedded)
    assert same > 0.363 > identity_similarity(embedded[0], embedded[1])  # OpenCV's published threshold

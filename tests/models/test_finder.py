"""Face finders on real frames: what they find, where, and that the answer follows the picture."""

from __future__ import annotations

import itertools
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import media
from models.experts.finder import S3FD_BOX, YUNET_LONG_SIDE, Detection, _once, _starts, _whole, open_finder

FACE_CLIPS = ("av2av_5.webm", "av2av_6.webm", "desynced_1.mp4", "grid_bbaf2n.mpg", "hdtf_katiehill.mp4",
              "portrait_hevc_1080x1920.mp4", "vox_00010.mp4", "vfr_1.mp4")


@lru_cache(maxsize=40)
def frame(path: Path, index: int) -> np.ndarray:
    return next(iter(media.read_frames(path, start=index, stop=index + 1)))


@pytest.fixture(scope="module")
def yunet(shared):
    return open_finder(shared / "models" / "yunet_n_dynamic.onnx", "yunet")


@pytest.fixture(scope="module")
def blazeface(shared):
    finder = open_finder(shared / "models" / "blaze_face_short_range.tflite", "blazeface")
    yield finder
    finder.close()


@pytest.mark.parametrize("clip", FACE_CLIPS)
def test_yunet_finds_the_one_face_in_sampled_frames(shared, yunet, clip):
    for index in (0, 12, 24):
        rgb = frame(shared / "real" / "clips" / clip, index)
        found = yunet.find(rgb)
        assert len(found) == 1
        face = found[0]
        x0, y0, x1, y1 = face.box
        assert face.box.dtype == face.points.dtype == np.float32 and face.box.shape == (4,) and face.points.shape == (5, 2)
        assert 0.6 <= face.score <= 1 and 30 < x1 - x0 < rgb.shape[1] and 1.0 < (y1 - y0) / (x1 - x0) < 1.8
        right_eye, left_eye, nose, right_mouth, left_mouth = face.points
        assert (face.points > face.box[:2] - 2).all() and (face.points < face.box[2:] + 2).all()
        assert right_eye[0] < left_eye[0] and right_mouth[0] < left_mouth[0] and right_eye[1] < nose[1] < right_mouth[1]


def test_yunet_finds_both_speakers_and_nothing_in_slides(shared, yunet):
    two = yunet.find(frame(shared / "real" / "clips" / "two_speakers.mp4", 120))
    scores = [d.score for d in two]
    assert len(two) >= 1 and scores == sorted(scores, reverse=True)
    assert max(len(yunet.find(frame(shared / "real" / "clips" / "two_speakers.mp4", i))) for i in (0, 30, 60, 90, 120)) == 2
    for index in (0, 300):
        assert yunet.find(frame(shared / "real" / "clips" / "noface_slides.mp4", index)) == []


def test_the_box_follows_the_picture(shared, yunet):
    """A frame moved by whole pixels moves the box; enlarged past the limit it enlarges it, mirrored it mirrors it."""
    import cv2

    rgb = frame(shared / "real" / "clips" / "hdtf_katiehill.mp4", 0)
    before = yunet.find(rgb)[0]
    side = before.box[2] - before.box[0]
    # The box's upper edge depends on how large the face is drawn (up to a tenth of its side); the points hardly do.
    moved = yunet.find(np.pad(rgb, ((64, 0), (32, 0), (0, 0))))[0]
    np.testing.assert_allclose(moved.box - (32, 64, 32, 64), before.box, atol=0.03 * side)
    assert max(rgb.shape) * 3 > YUNET_LONG_SIDE
    large = yunet.find(cv2.resize(rgb, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR))[0]
    np.testing.assert_allclose((large.box + 0.5) / 3 - 0.5, before.box, atol=0.12 * side)
    np.testing.assert_allclose((large.points + 0.5) / 3 - 0.5, before.points, atol=0.04 * side)
    mirrored = yunet.find(rgb[:, ::-1])[0]
    np.testing.assert_allclose(rgb.shape[1] - 1 - mirrored.box[[2, 0]], before.box[[0, 2]], atol=0.04 * side)


def test_the_same_frame_gives_the_same_bytes(shared, yunet, blazeface):
    """Also after frames of other sizes, and from a second instance."""
    rgb = frame(shared / "real" / "clips" / "vox_00010.mp4", 5)
    for finder, file in ((yunet, "yunet_n_dynamic.onnx"), (blazeface, "blaze_face_short_range.tflite")):
        before = finder.find(rgb)[0]
        finder.find(np.zeros((90, 700, 3), np.uint8))
        again = open_finder(shared / "models" / file, finder.name).find(rgb)[0]
        for other in (finder.find(rgb)[0], again):
            assert other.score == before.score and other.box.tobytes() == before.box.tobytes()
            assert other.points.tobytes() == before.points.tobytes()


def test_both_yunet_files_agree(shared, yunet):
    rgb = frame(shared / "real" / "clips" / "grid_bbaf2n.mpg", 0)
    other = open_finder(shared / "models" / "yunet_n_640_640.onnx").find(rgb)[0]
    np.testing.assert_allclose(other.box, yunet.find(rgb)[0].box, atol=0.5)


def test_blazeface_agrees_with_yunet_on_a_face_that_fills_the_frame(shared, yunet, blazeface):
    rgb = frame(shared / "real" / "clips" / "vox_620900105.mp4", 0)
    (near,), reference = blazeface.find(rgb), yunet.find(rgb)[0]
    side = reference.box[2] - reference.box[0]
    assert near.points.shape == (6, 2) and near.points.dtype == near.box.dtype == np.float32
    np.testing.assert_allclose(near.points[:2], reference.points[:2], atol=0.12 * side)  # eyes, the person's right first
    centre = (near.box[:2] + near.box[2:]) / 2
    assert (centre > reference.box[:2]).all() and (centre < reference.box[2:]).all()


def test_blazeface_finds_small_faces_in_parts_of_wide_frames(shared, yunet, blazeface):
    """One look at the whole does not, which is why YuNet is the default; and parts show no face where there is none."""
    clips = shared / "real" / "clips"
    wide = [frame(clips / "av2av_5.webm", i) for i in (0, 10, 20)]
    assert not any(d.score >= 0.5 for f in wide for d in blazeface._look(f))

    def seen(rgb: np.ndarray) -> list[bool]:
        """Of each face of YuNet's, whether the middle of one of BlazeFace's lies in it."""
        middles = [(d.box[:2] + d.box[2:]) / 2 for d in blazeface.find(rgb)]
        return [any((m > d.box[:2]).all() and (m < d.box[2:]).all() for m in middles) for d in yunet.find(rgb)]

    assert [seen(rgb) for rgb in wide] == [[True]] * 3
    assert [True, True] in [seen(frame(clips / "two_speakers.mp4", i)) for i in (0, 60, 120)]
    assert blazeface.find(frame(clips / "noface_slides.mp4", 0)) == []


@given(length=st.integers(256, 4000), part=st.floats(0.2, 1.0))
def test_squares_cover_a_length_and_overlap_by_half(length, part):
    side = max(1, round(length * part))
    starts = _starts(length, side)
    assert starts[0] == 0 and starts[-1] + side == length
    assert all(0 < b - a <= side / 2 + 1 for a, b in itertools.pairwise(starts))


def test_a_face_that_two_parts_show_is_one_and_one_that_an_edge_cuts_is_none():
    def find(x0: float, y0: float, x1: float, y1: float, score: float) -> Detection:
        return Detection(np.float32([x0, y0, x1, y1]), score, np.zeros((6, 2), np.float32))

    best, worse, other = find(10, 10, 50, 50, 0.9), find(12, 8, 80, 84, 0.6), find(100, 10, 140, 50, 0.7)
    assert _once([worse, other, best]) == [best, other]
    box = np.float32([-3, 20, 40, 60])
    assert not _whole(box, 200, 300, 0, 800, 600) and _whole(box, 200, 0, 0, 800, 600), "where the frame begins, too"
    assert _whole(np.float32([30, 30, 60, 60]), 200, 300, 100, 800, 600)


def test_mistakes_are_named(shared, yunet, tmp_path):
    for wrong in (np.zeros((10, 10), np.uint8), np.zeros((10, 10, 3), np.float32), np.zeros((0, 10, 3), np.uint8)):
        with pytest.raises(ValueError, match="uint8 frame HxWx3"):
            yunet.find(wrong)
    with pytest.raises(ValueError, match="'s3fd'.*blazeface, yunet"):
        open_finder(tmp_path, "s3fd")
    with pytest.raises(ValueError, match="nothing.onnx: no such model file"):
        open_finder(tmp_path / "nothing.onnx")
    (tmp_path / "text").write_text("not a model")
    for kind in ("yunet", "blazeface"):
        with pytest.raises(ValueError, match=f"text: cannot be read as a {kind} model"):
            open_finder(tmp_path / "text", kind)

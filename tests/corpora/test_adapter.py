"""The synthetic corpus: items that never change by themselves, recordings that are what their truth says, and a planted twin
that is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.records import SAFE_ID, Item
from corpora.synthetic import adapter
from corpora.synthetic.speech import Phoneme

HARD = {"timing_jitter_s": 0.025, "viseme_gain": 0.25, "amplitude": [0.4, 0.9], "head_motion": 1.0, "lip_noise": 0.03,
        "image_noise": 4.0, "blur": 0.6, "reverb": 0.3, "audio_snr_db": 25.0}
GAP = {"twin_of": "tr", "swap": {"pp": "aa", "aa": "pp"}, "audio_late_ms": 80}
CONFIG = {"adapter": "synthetic", "size": 96, "speakers": 4, "clips_per_speaker": 3, "seed": 20, "hard": HARD,
          "languages": {"en": {}, "tr": {}, "x-gap": GAP, "x-twin": {"twin_of": "tr"}}}
CLEAN = CONFIG | {"hard": {}}


def test_items_are_safe_sorted_and_say_all_that_fetch_needs():
    for tag in sorted(CONFIG["languages"]):
        items, rejected = adapter.items(CONFIG, tag)
        assert rejected == [] and len(items) == 12 and [i.id for i in items] == sorted(i.id for i in items)
        assert all(SAFE_ID.fullmatch(i.id) and i.kind == "real" and i.language == tag and i.corpus == "synthetic" for i in items)
        assert all(json.loads(json.dumps(i.extra)) == i.extra and list(i.extra) == sorted(i.extra) for i in items)
        by_speaker = {i.speaker: [j.extra["sentence"] for j in items if j.speaker == i.speaker] for i in items}
        assert len(by_speaker) == 4 and all(len(set(sentences)) == 3 for sentences in by_speaker.values())


def test_items_do_not_move_when_the_corpus_grows():
    small = {(tag, i.id): i for tag in CONFIG["languages"] for i in adapter.items(CONFIG, tag)[0]}
    grown = CONFIG | {"speakers": 6, "clips_per_speaker": 5, "languages": CONFIG["languages"] | {"fi": {}}}
    large = {(tag, i.id): i for tag in grown["languages"] for i in adapter.items(grown, tag)[0]}
    assert len(large) == 150 and all(large[key] == item for key, item in small.items())


def test_seeds_are_the_same_on_every_machine():
    assert adapter.seed_of(20, "tr", "tr-s00") == 6197892631706960233
    assert adapter.seed_of("a", "bc") != adapter.seed_of("ab", "c")


def test_speakers_differ_in_face_and_voice_and_other_seeds_give_others():
    config = CONFIG | {"speakers": 24}
    speakers = {i.speaker: i.extra for i in adapter.items(config, "en")[0]}
    assert len({who["variant"] for who in speakers.values()}) == len({who["identity_seed"] for who in speakers.values()}) == 24
    who = speakers["en-s03"]
    assert adapter.speaker_identity(config, "en", "en-s03") == {k: v for k, v in who.items() if k not in ("sentence", "clip")}
    faces = [{i.extra["identity_seed"] for i in adapter.items(config, tag)[0]} for tag in ("tr", "x-twin")]
    assert not faces[0] & faces[1]
    assert adapter.items(config | {"seed": 21}, "en")[0] != adapter.items(config, "en")[0]


def test_more_clips_than_sentences_come_round_again():
    items, _ = adapter.items(CONFIG | {"clips_per_speaker": 30, "speakers": 1}, "en")
    sentences = [i.extra["sentence"] for i in items]
    assert sorted(sentences[:24]) == list(range(24)) and len(set(sentences[24:])) == 6


def test_a_language_or_option_that_is_not_known_is_named():
    with pytest.raises(ValueError, match="did you mean 'x-gap'"):
        adapter.items(CONFIG, "x-gpa")
    with pytest.raises(ValueError, match="add corpora/languages/qq.yaml"):
        adapter.items(CONFIG | {"languages": {"qq": {}}}, "qq")
    with pytest.raises(ValueError, match=r"languages\.en has unknown options \['twin'\]"):
        adapter.items(CONFIG | {"languages": {"en": {"twin": "tr"}}}, "en")
    with pytest.raises(ValueError, match=r"hard has unknown knobs \['blurr'\]"):
        adapter.items(CONFIG | {"hard": {"blurr": 1}}, "en")


def test_speech_spans_break_at_pauses():
    phonemes = [Phoneme("", 0, 1), Phoneme("a", 1, 2), Phoneme("b", 2, 3), Phoneme("", 3, 4), Phoneme("c", 4, 5)]
    assert adapter.speech_spans(phonemes) == [[1, 3], [4, 5]]


def fetched(config, tag: str, folder, index: int = 0) -> tuple[Item, object]:
    item = adapter.items(config, tag)[0][index]
    folder.mkdir(exist_ok=True)
    return item, adapter.fetch(item, config, folder)


def heard(path) -> tuple[np.ndarray, list]:
    """The sound and the picture times of a recording, straight from the decoder."""
    import av

    with av.open(str(path)) as media:
        audio = np.concatenate([frame.to_ndarray().reshape(-1) for frame in media.decode(audio=0)])
    with av.open(str(path)) as media:
        times = [float(frame.pts * frame.time_base) for frame in media.decode(video=0)]
    return audio, times


@pytest.fixture(scope="module")
def hard_recording(tmp_path_factory):
    return fetched(CONFIG, "tr", tmp_path_factory.mktemp("hard"))


def test_a_recording_has_640_samples_a_frame_and_quiet_ends(hard_recording):
    item, got = hard_recording
    assert got.path.name == f"{item.id}.mkv"
    audio, times = heard(got.path)
    n_frames = len(times)
    assert audio.dtype == np.int16 and len(audio) == 640 * n_frames
    np.testing.assert_allclose(times, np.arange(n_frames) / 25, atol=1.1e-3)  # the container counts milliseconds
    truth = got.truth
    assert truth["gap"].shape == truth["width"].shape == (n_frames,)
    assert truth["points"].shape == (n_frames, len(truth["point_indices"]), 2) and truth["points"].dtype == np.float32
    assert max(truth["point_indices"]) < 468 and truth["audio_late_ms"] == 0
    first, last = truth["speech"][0][0], truth["speech"][-1][1]
    assert 0.2 <= first <= 0.45 and 0.19 <= n_frames / 25 - last <= 0.5
    loud = audio[round(first * 16_000): round(last * 16_000)].astype(float).std()
    assert audio[: round((first - 0.01) * 16_000)].astype(float).std() < 0.2 * loud


def test_the_same_recording_again_has_the_same_bytes(hard_recording, tmp_path):
    item, got = hard_recording
    again = adapter.fetch(item, CONFIG, tmp_path)
    assert again.path.read_bytes() == got.path.read_bytes()
    assert again.truth["phonemes"] == got.truth["phonemes"]
    np.testing.assert_array_equal(again.truth["points"], got.truth["points"])


def test_the_mouth_is_shut_in_bilabials_and_open_in_open_vowels(tmp_path):
    _, got = fetched(CLEAN, "tr", tmp_path)
    truth = got.truth
    gap, top = truth["gap"], truth["gap"].max()
    middles = {"pp": [], "aa": []}
    for p in truth["phonemes"]:
        if p["viseme"] in middles:
            middles[p["viseme"]].append(gap[int((p["start_s"] + p["end_s"]) / 2 * 25)])
    assert len(middles["pp"]) >= 1 and max(middles["pp"]) < 0.1 * top
    assert np.median(middles["aa"]) > 0.5 * top


def test_the_planted_twin_swaps_shapes_and_is_late(tmp_path):
    item, got = fetched(CLEAN, "x-gap", tmp_path)
    truth = got.truth
    assert truth["audio_late_ms"] == 80 and truth["voice"].startswith("tr+")
    bilabials = [p for p in truth["phonemes"] if p["symbol"][-1:] in "pbm" and p["symbol"]]
    assert bilabials and all(p["viseme"] == "aa" for p in bilabials)
    audio, times = heard(got.path)
    first = truth["speech"][0][0]
    onset = np.flatnonzero(np.abs(audio.astype(float)) > 0.02 * np.abs(audio).max())[0] / 16_000
    assert 0.07 < onset - first < 0.16
    _, right = fetched(CLEAN, "x-twin", tmp_path)
    audio, _ = heard(right.path)
    onset = np.flatnonzero(np.abs(audio.astype(float)) > 0.02 * np.abs(audio).max())[0] / 16_000
    assert -0.02 < onset - right.truth["speech"][0][0] < 0.06
    assert all(p["viseme"] == "pp" for p in right.truth["phonemes"] if p["symbol"][-1:] in "pbm" and p["symbol"])

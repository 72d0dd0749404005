"""Features: those of the clip's own sound, row by row on its clock."""

from __future__ import annotations

import numpy as np
import pytest

from core import audio, media, mfcc
from core.shards import unpack
from core.timing import n_mel_frames, n_mfcc_rows
from tests.stages.sync_clips import RECORDINGS, rows_of

WIDTHS = {"mel": 80, "mfcc_syncnet": 13, "mfcc_speech2vid": 12}


def arrays(row):
    return {name: unpack(row[name], np.float32, (-1, width)) for name, width in WIDTHS.items()}


def by_clip(folder, instance):
    rows = {r["clip_id"]: r for r in rows_of(folder, "features", instance, "features")}
    clips = {c["clip_id"]: c for c in rows_of(folder, "segment", instance, "clips")}
    assert sorted(rows) == sorted(clips)
    return [(clips[c], rows[c]) for c in sorted(rows)]


def test_features_are_those_of_the_decoded_sound(sync):
    for clip, row in by_clip(sync.folder, "sync-en"):
        samples, got = media.decode_flac(clip["audio"]), arrays(row)
        wanted = {"mel": audio.mel_wav2lip(samples).T, "mfcc_syncnet": mfcc.mfcc_syncnet(samples),
                  "mfcc_speech2vid": mfcc.mfcc_htk(samples)}
        for name in WIDTHS:  # sums on several threads round otherwise than on the worker's one
            np.testing.assert_allclose(got[name], wanted[name], atol=1e-4, rtol=1e-5, err_msg=name)
        assert (row["track_id"], row["n_frames"], row["n_samples"]) == (f"{clip['clip_id']}-t0", clip["n_frames"], len(samples))


def test_row_counts_follow_the_clock(sync, talkers):
    for folder, instance in ((sync.folder, "sync-en"), (talkers, "synthetic-en")):
        for clip, row in by_clip(folder, instance):
            got, n = arrays(row), clip["n_samples"]
            assert len(got["mel"]) == n_mel_frames(n)
            assert len(got["mfcc_syncnet"]) == n_mfcc_rows(n)
            assert len(got["mfcc_speech2vid"]) == n_mfcc_rows(n, pad=False)
            if n == 640 * clip["n_frames"]:
                assert [len(got[k]) for k in WIDTHS] == [1 + n // 200, 4 * clip["n_frames"] - 1, 4 * clip["n_frames"] - 2]


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_click_is_in_its_row(sync, name):
    seen = 0
    for clip, row in by_clip(sync.folder, "sync-en"):
        if sync.of[clip["recording_id"]] != name:
            continue
        got = arrays(row)
        for at_s in sync.clicks(clip):
            near = 0.1  # the click stands alone in its pause
            # mel frames are centred on their index: the band around 1 kHz peaks where the click is
            low, high = round((at_s - near) * 80), round((at_s + near) * 80)
            band = got["mel"][low:high, 20:32].max(axis=1)
            assert abs((low + int(np.argmax(band))) / 80 - at_s) <= 1 / 80
            # an MFCC row covers 400 samples from its index on: the loudest one holds the click
            low, high = round((at_s - near) * 100), round((at_s + near) * 100)
            first = low + int(np.argmax(got["mfcc_syncnet"][low:high, 0]))
            assert first / 100 - 0.001 <= at_s <= first / 100 + 0.026
            seen += 1
    assert seen == (3 if "long" in name else 2)

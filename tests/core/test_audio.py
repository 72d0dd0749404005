"""The audio front ends against the libraries and the golden files that define them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import audio, mfcc
from core.timing import WINDOWS, n_mel_frames, n_mfcc_rows_for_frames


def speechlike(n: int, seed: int = 0, peak: float = 9000.0) -> np.ndarray:
    """Harmonics under a slow envelope with a little noise: int16 (n,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16_000
    voice = sum(np.sin(2 * np.pi * 130 * k * t + rng.uniform(0, 6)) / k for k in range(1, 25))
    return np.int16(peak / 4 * (0.3 + np.sin(2 * np.pi * 2.1 * t) ** 2) * (voice + 0.05 * rng.normal(size=n)))


@pytest.fixture(scope="module", params=["sp_deyu.wav", "sp_japanese.wav"])
def golden(request, shared):
    wavfile = pytest.importorskip("scipy.io.wavfile")
    rate, wav = wavfile.read(shared / "golden" / request.param)
    assert rate == 16_000 and wav.dtype == np.int16
    return wav, np.load(shared / "golden" / "wav2lip_mel.npz")[request.param]


def test_mel_equals_the_golden_file(golden):
    wav, expected = golden
    mel = audio.mel_wav2lip(wav)
    assert mel.dtype == np.float32 and mel.shape == expected.shape
    np.testing.assert_allclose(mel, expected, atol=1e-3)


def test_syncnet_cepstra_of_real_speech_equal_the_reference(golden):
    psf = pytest.importorskip("python_speech_features")
    np.testing.assert_allclose(mfcc.mfcc_syncnet(golden[0]), psf.mfcc(golden[0], 16_000), atol=1e-5)


def test_mel_equals_librosa(librosa):
    wav = speechlike(23_457)
    x = wav / 32768.0
    emphasised = np.append(x[0], x[1:] - 0.97 * x[:-1])
    spectrum = np.abs(librosa.stft(emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="reflect"))
    bank = librosa.filters.mel(sr=16_000, n_fft=800, n_mels=80, fmin=55, fmax=7600)
    db = 20 * np.log10(np.maximum(1e-5, bank @ spectrum)) - 20
    np.testing.assert_allclose(audio.mel_wav2lip(wav), np.clip(8 * (db + 100) / 100 - 4, -4, 4), atol=1e-3)
    np.testing.assert_allclose(audio._slaney_bank(), bank, atol=1e-7)


def test_mel_of_int16_and_of_floats_is_the_same():
    wav = speechlike(8000)
    np.testing.assert_array_equal(audio.mel_wav2lip(wav), audio.mel_wav2lip(wav / np.float32(32768)))


@pytest.mark.parametrize("n", [1, 2, 199, 200, 399, 401, 51_201])
def test_mel_frames_are_counted_as_the_timeline_says(n):
    mel = audio.mel_wav2lip(speechlike(n))
    assert mel.shape == (80, n_mel_frames(n)) and np.isfinite(mel).all()


def test_silence_is_the_floor_everywhere():
    silence = np.zeros(3200, dtype=np.int16)
    assert (audio.mel_wav2lip(silence) == -4).all()
    assert (mfcc.mfcc_htk(silence) == 0).all()
    assert np.isfinite(mfcc.mfcc_syncnet(silence)).all()
    assert audio.loudness_db(silence) == audio.SILENCE_DB == audio.loudness_db(silence[:0])


@pytest.mark.parametrize("n", [1, 399, 400, 401, 560, 561, 16_000, 52_345])
def test_syncnet_cepstra_equal_python_speech_features(n):
    psf = pytest.importorskip("python_speech_features")
    wav = speechlike(n, seed=n)
    ours = mfcc.mfcc_syncnet(wav)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, psf.mfcc(wav, 16_000), atol=1e-5)


def test_stochastic_cepstra_equal_python_speech_features_on_padded_floats():
    psf = pytest.importorskip("python_speech_features")
    wav = speechlike(75 * 640)
    expected = psf.mfcc(np.pad(wav / 32768.0, 1965), 16_000, winstep=0.01)[:, 1:]
    ours = mfcc.mfcc_stochastic(wav)
    assert ours.shape == (324, 12)  # the window of the last of 75 frames ends on the last row
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@given(st.integers(1, 40))
@settings(max_examples=15, deadline=None)
def test_row_counts_of_whole_frames(n_frames):
    wav = speechlike(640 * n_frames)
    assert len(mfcc.mfcc_syncnet(wav)) == n_mfcc_rows_for_frames(n_frames) == 4 * n_frames - 1
    assert len(mfcc.mfcc_htk(wav)) == 4 * n_frames - 2
    assert len(mfcc.mfcc_stochastic(wav)) == 4 * n_frames + 24


def test_the_scale_moves_c0_by_twice_its_logarithm_and_nothing_else():
    loud = speechlike(16_000, peak=16_000).astype(np.float64) * 2
    quiet = loud / 256
    difference = mfcc.mfcc_syncnet(loud) - mfcc.mfcc_syncnet(quiet)
    np.testing.assert_allclose(difference[:, 0], 2 * np.log(256), atol=1e-4)
    np.testing.assert_allclose(difference[:, 1:], 0, atol=1e-4)
    np.testing.assert_allclose(mfcc.mfcc_htk(loud), mfcc.mfcc_htk(quiet), atol=1e-4)


@pytest.mark.parametrize("front_end", [mfcc.mfcc_syncnet, mfcc.mfcc_htk, mfcc.mfcc_stochastic])
def test_unit_floats_are_refused(front_end):
    with pytest.raises(ValueError, match=r"looks like \[-1, 1\]"):
        front_end(speechlike(4000) / 32768)
    with pytest.raises(ValueError, match="int16-range"):
        front_end(np.full(4000, 1e6))
    with pytest.raises(ValueError, match="int16-range"):
        front_end(np.full(4000, np.nan))
    with pytest.raises(TypeError, match="int32"):
        front_end(np.ones(4000, dtype=np.int32))
    with pytest.raises(ValueError, match="mono"):
        front_end(np.ones((4000, 2), dtype=np.int16))
    with pytest.raises(ValueError, match="empty"):
        front_end(np.ones(0, dtype=np.int16))


def htk_by_hand(wav: np.ndarray, n_filters: int) -> np.ndarray:
    """The recipe written out with a plain DFT and loops, one row at a time: float64 (rows, 12)."""
    x = wav.astype(float)
    x = np.append(x[0], x[1:] - 0.97 * x[:-1])
    to_mel, to_hz = lambda f: 1127 * np.log(1 + f / 700), lambda m: 700 * (np.exp(m / 1127) - 1)
    corners = to_hz(np.linspace(to_mel(300), to_mel(3700), n_filters + 2))
    dft = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512)
    rows = []
    for start in range(0, len(x) - 400 + 1, 160):
        n = np.arange(400)
        frame = np.zeros(512)
        frame[:400] = x[start : start + 400] * (0.54 - 0.46 * np.cos(2 * np.pi * n / 399))
        magnitude = np.abs(dft @ frame)
        outputs = []
        for low, mid, high in zip(corners, corners[1:], corners[2:]):
            total = 0.0
            for k in range(257):
                f = k * 16_000 / 512
                if low <= f <= mid:
                    total += magnitude[k] * (f - low) / (mid - low)
                elif mid < f <= high:
                    total += magnitude[k] * (high - f) / (high - mid)
            outputs.append(np.log(max(total, 1.0)))
        m = np.arange(1, n_filters + 1)
        c = [np.sqrt(2 / n_filters) * np.sum(outputs * np.cos(np.pi * i * (m - 0.5) / n_filters)) for i in range(1, 13)]
        rows.append([(1 + 11 * np.sin(np.pi * i / 22)) * v for i, v in zip(range(1, 13), c)])
    return np.array(rows)


@pytest.mark.parametrize("n_filters", [40, 13])  # Speech2Vid, DAVS
def test_htk_cepstra_equal_the_recipe_written_out(n_filters):
    wav = speechlike(1500)
    ours = mfcc.mfcc_htk(wav, n_filters=n_filters)
    assert ours.shape == (7, 12)
    np.testing.assert_allclose(ours, htk_by_hand(wav, n_filters), atol=1e-4)


def test_htk_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="low_hz"):
        mfcc.mfcc_htk(speechlike(1000), low_hz=4000)
    with pytest.raises(ValueError, match="n_filters >= 13"):
        mfcc.mfcc_htk(speechlike(1000), n_filters=5)


def test_long_audio_is_the_same_in_blocks():
    wav = speechlike(160 * 700 + 400)
    np.testing.assert_array_equal(mfcc.mfcc_htk(wav)[300:310], mfcc.mfcc_htk(wav[160 * 299 :])[1:11])


def test_windows_take_the_rows_of_each_frame():
    rows = np.arange(4 * 30 - 1)[:, None].astype(np.float32)
    cut = audio.windows(rows, WINDOWS["davs"], 30)
    assert cut.shape == (30, 20, 1) and cut[10, 0, 0] == 32 and cut[0, 0, 0] == 0 and cut[29, -1, 0] == 118
    assert audio.windows(rows, WINDOWS["wav2lip"], 3).shape == (3, 16, 1)


def test_loudness_of_a_sine():
    t = np.arange(16_000) / 16_000
    assert audio.loudness_db(np.int16(np.round(32767 * np.sin(2 * np.pi * 100 * t)))) == pytest.approx(-3.01, abs=0.01)
    assert audio.loudness_db(0.1 * np.sin(2 * np.pi * 100 * t)) == pytest.approx(-23.01, abs=0.01)


def test_energy_belongs_to_its_frame():
    wav = np.zeros(640 * 3 + 100, dtype=np.int16)
    wav[640:1280] = 16384
    np.testing.assert_allclose(audio.energy_per_frame(wav, 3), [0, 0.5, 0])
    wav[1920:] = 16384
    expected = [0, 0.5, 0, 0.5 * np.sqrt(100 / 640), 0]
    np.testing.assert_allclose(audio.energy_per_frame(wav, 5), expected, rtol=1e-6)
    assert audio.energy_per_frame(wav, 0).shape == (0,)


@pytest.mark.parametrize(
    "bad, error", [(np.ones(10, np.int32), TypeError), (np.full(10, 900.0), ValueError), (np.full(10, np.inf), ValueError)]
)
def test_the_mel_refuses_what_is_not_a_waveform(bad, error):
    with pytest.raises(error):
        audio.mel_wav2lip(bad)

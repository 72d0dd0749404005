"""The benchmarks run, count what they say they count, and their thresholds can be missed."""

from __future__ import annotations

import json
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from core.shards import read_rows
from bench import claims, lag, stats, throughput
from bench.__main__ import benchmarks
from metrics import stats as metric_stats

SPEAKERS = 12


# ---- lag ----------------------------------------------------------------------------------------------------------------------
def toy_clips(rng: np.random.Generator, n: int = 6, late: int = 0, deaf: bool = False) -> list[lag.Clip]:
    """Clips of 5 s whose sound is the picture's own embedding, `late` frames later, or has nothing to do with it."""
    clips = []
    for k in range(n):
        video = rng.standard_normal((120, 16)).astype(np.float32)
        audio = rng.standard_normal((120, 16)).astype(np.float32) if deaf else np.roll(video, late, 0)
        clips.append(lag.Clip(f"t{k}", f"r{k}", "en", f"speaker:s{k}", video, audio))
    return clips


@pytest.mark.parametrize("n_windows", [0, 86, 87, 100, 161, 162, 400])
def test_every_lag_falls_inside_the_clip_and_stretches_share_no_frame(n_windows):
    starts, length = lag.places(n_windows, 3.0), lag.windows_of(3.0)
    assert len(starts) == max(0, (n_windows - length - 16) // 75 + (n_windows >= length + 16))
    assert all(b - a == 75 for a, b in zip(starts, starts[1:], strict=False))
    assert all(s + min(lag.LAGS) >= 0 and s + max(lag.LAGS) + length <= n_windows for s in starts)


def test_a_stretch_that_cannot_be_searched_is_refused():
    with pytest.raises(ValueError, match="at least 0.8 s"):
        lag.windows_of(0.6)


def test_every_lag_is_found_with_its_sign_by_one_who_hears():
    clips = toy_clips(np.random.default_rng(0))
    assert lag.offsets(clips[0].video, clips[0].audio, 8, 8, lag.windows_of(3.0)) == list(lag.LAGS)
    found = lag.examine(clips, clips, 3.0)
    assert (found["within_1"], found["exact"], found["n_clips"], found["n_speakers"]) == (1.0, 1.0, 6, 6)
    assert found["n_trials"] == 6 * 17 and set(found["by_lag"].values()) == {1.0}
    assert found["mismatched"]["within_1"] < 0.35
    assert int(np.argmin(found["curve"]["mean"])) == lag.VSHIFT


def test_one_who_hears_nothing_guesses_and_one_who_is_two_frames_off_is_wrong():
    rng = np.random.default_rng(1)
    deaf, off = toy_clips(rng, 12, deaf=True), toy_clips(rng, late=2)
    assert lag.examine(deaf, deaf, 3.0)["within_1"] < 0.35  # 3 in 31 by guessing
    wrong = lag.examine(off, off, 3.0)
    assert wrong["within_1"] == 0.0
    assert int(np.argmin(wrong["curve"]["mean"])) == lag.VSHIFT + 2


def test_short_clips_are_counted_and_a_lone_clip_has_no_control():
    rng = np.random.default_rng(2)
    short = lag.Clip("t", "r", "en", "speaker:s", rng.standard_normal((80, 4)), rng.standard_normal((80, 4)))
    found = lag.examine([short], [short], 3.0)
    assert (found["too_short"], found["n_trials"], found["within_1"]) == (1, 0, None)
    alone = toy_clips(rng, 1)
    assert lag.examine(alone, alone, 3.0)["mismatched"] is None


def test_the_control_takes_another_speaker_of_the_same_language_first():
    rng = np.random.default_rng(3)
    one, two, three = toy_clips(rng, 3)
    same_speaker = lag.Clip("t00", "r9", "en", one.cluster, two.video, two.audio)
    elsewhere = lag.Clip("a", "r0", "tr", "speaker:x", two.video, two.audio)
    assert lag.partner(one, [one, same_speaker, elsewhere, three], 3.0) is three
    assert lag.partner(one, [one, elsewhere, same_speaker], 3.0) is same_speaker
    assert lag.partner(one, [one, elsewhere], 3.0) is elsewhere


def test_lag_of_a_finished_workspace_and_of_an_untrained_expert(built, tmp_path):
    import torch

    from models.experts.syncnet import open_sync

    found = lag.measure(built)
    tags = {r["language"]: r for r in found["languages"]}
    assert set(tags) == {"en", "x-gap"} and tags["x-gap"]["planted"] and tags["x-gap"]["passes"] is None
    for row in tags.values():
        assert row["n_clips"] + row["too_short"] >= 1 and row["n_trials"] == 17 * row["n_clips"]
        assert row["short"]["n_clips"] >= row["n_clips"]
    drawing = lag.save(found, tmp_path / "lag.json")
    charts = [e for e in ElementTree.parse(drawing).getroot() if e.tag.endswith("}svg")]
    assert len(charts) == sum(r["n_clips"] > 0 for r in tags.values()) > 0
    assert json.loads((tmp_path / "lag.json").read_text())["passes"] == found["passes"]
    assert ("FAIL" in lag.text(found)) == (not found["passes"])

    torch.manual_seed(0)
    raw = yaml.safe_load((built / "params.yaml").read_text())
    guess = lag.measure(built, expert=open_sync("small", None, tuple(raw["crop"]["views"]["mouth"]["size"])))
    rates = [r["within_1"] for r in guess["languages"] if r["n_trials"]]
    assert not guess["passes"] and np.mean(rates) < 0.5
    assert "FAIL" in lag.text(guess)


def test_a_folder_that_is_no_workspace_is_an_error_of_one_line(tmp_path):
    for module, words in (("lag", ["--workspace", str(tmp_path)]), ("claims", ["report", "--dir", str(tmp_path / "none")])):
        ran = subprocess.run([sys.executable, "-m", f"bench.{module}", *words], capture_output=True, text=True, check=False)
        assert ran.returncode == 2 and ran.stderr.startswith(f"bench.{module}: ") and "Traceback" not in ran.stderr


# ---- claims -------------------------------------------------------------------------------------------------------------------
def score_rows(lead: float = 0.1, opening: float = 0.7, still: float = 0.02, speakers: int = SPEAKERS) -> list[dict]:
    """Rows of one system in one language: `lead` between own and shuffled sound, and how well the mouth follows the truth."""
    rng, rows = np.random.default_rng(5), []

    def add(system: str, condition: str, k: int, lse_d: float, lse_c: float, follows: float | None) -> None:
        track = f"en-s{k:02d}"
        rows.append({"generated_id": f"{track}.{system}.{condition}", "track_id": track, "clip_id": track, "corpus": "synthetic",
                     "language": "en",
                     "cluster": f"speaker:{track}", "system": system, "condition": condition, "audio_clip_id": track,
                     "audio_language": "en",
                     "training_languages": ["en"] if system == "s2v" else [], "lse_d": lse_d, "lse_c": lse_c,
                     "truth_opening_correlation": follows, "null_reasons": []})

    for k in range(speakers):
        d = 1.2 + 0.02 * float(rng.standard_normal())
        add("real", "self", k, d, 0.3, 0.95)
        add("real", "shuffled", k, d + 0.2, 0.1, None)
        add("still", "self", k, d + 0.2, 0.1, still)
        add("s2v", "self", k, d + 0.1, 0.2, opening)
        add("s2v", "shuffled", k, d + 0.1 + lead + 0.01 * float(rng.standard_normal()), 0.1, None)
    return rows


def judged(**changes) -> dict:
    return claims.judge_systems(score_rows(**changes), margin=0.0, alpha=0.05, seed=1, resamples=200)


def test_a_system_that_leads_passes_with_its_numbers():
    result = judged()
    (entry,) = result["entries"]
    assert result["passes"] and entry["fails"] == []
    assert (entry["n_speakers"], entry["n_clips"], entry["n_opening"], entry["n_still"]) == (12, 12, 12, 12)
    assert entry["lead"] == pytest.approx(0.1, abs=0.01) and entry["low"] < entry["lead"] < entry["high"]
    assert entry["p_holm"] == pytest.approx(2 / 2**12)


@pytest.mark.parametrize(("changes", "why"), [({"lead": -0.1}, "no lead"), ({"lead": 0.0005}, "lead"),
                                              ({"speakers": 11}, "11 speakers"),
                                              ({"opening": 0.4}, "does not follow"), ({"still": -0.3}, "still picture")])
def test_each_threshold_for_systems_can_be_missed(changes, why):
    result = judged(**changes)
    assert not result["passes"] and any(why in reason for reason in result["entries"][0]["fails"])


def test_no_system_at_all_is_no_pass():
    rows = [r for r in score_rows() if r["system"] != "s2v"]
    assert not claims.judge_systems(rows, margin=0.0, alpha=0.05, seed=1, resamples=200)["passes"]


@pytest.fixture(scope="module")
def project(root):
    from core.params import load_params

    return load_params(root / "params.yaml")


@pytest.mark.parametrize(("found", "passes"), [(["x-gap"], True), ([], False), (["x-gap", "x-twin"], False), (["x-twin"], False)])
def test_planted_languages(project, found, passes):
    tests = [{"language": tag, "p_holm": 0.01, "system": "real", "metric": "lse_c", "n_speakers": 9, "n_speakers_against": 6,
              "worse_by": 0.1}
             for tag in ("x-gap", "x-twin")]
    document = {"alpha": 0.05, "twins": {"languages": ["x-gap", "x-twin"], "found": found, "comparisons": tests}}
    assert claims.judge_planted(document, project)["passes"] is passes
    for test in tests:
        test["p_holm"] = None  # with too few speakers nothing is compared, and nothing is shown
    assert not claims.judge_planted(document, project)["passes"]


def test_the_corpus_of_the_claims_has_the_speakers_they_ask_for(root, project):
    from core.params import check_params
    from flows.workspace import merged
    from stages.split import _quota

    size = claims.Size()
    params = check_params(merged(yaml.safe_load((root / "params.yaml").read_text()), claims.overrides(project, size)))
    trained = {t for e in params.train.systems.values() for t in params.training_languages(e)}
    assert trained
    assert (params.track.finder, params.track.landmarker) == ("blazeface", "facemesh"), "not whatever this machine has"
    for who in params.instances():
        n = params.corpora[who.corpus].languages[who.language].speakers
        dealt = _quota(n, params.split, who.language in trained)
        if who.planted:
            assert n >= 8
        elif who.language in trained:
            assert dealt.count("test") >= claims.MIN_SPEAKERS and dealt.count("train") >= 8
        else:
            assert dealt.count("test") >= 6 and dealt.count("expert_train") >= 8


def test_a_workspace_too_small_for_the_claims_fails_them_and_says_why(built):
    result = claims.judge(built)
    assert not result["passes"] and not result["systems"]["passes"]
    (entry,) = result["systems"]["entries"]
    assert (entry["system"], entry["language"]) == ("speech2vid-en", "en")
    assert entry["n_speakers"] < claims.MIN_SPEAKERS and entry["n_still"] == 1
    # Sixteen steps of training may leave no face that landmarks fit: as many as the score table has, no more and no fewer.
    rows = read_rows(built / "data/score/speech2vid-en", "scores", ["language", "condition", "truth_opening_correlation"])
    assert entry["n_opening"] == sum(r["language"] == "en" and r["condition"] == "self"
                                     and r["truth_opening_correlation"] is not None
                                     for r in rows)
    assert f"{entry['n_speakers']} speakers, {claims.MIN_SPEAKERS} wanted" in claims.text(result)
    assert not result["planted"]["passes"]  # one speaker of English is tested: nothing can be compared
    json.dumps(result, allow_nan=False)


# ---- throughput ---------------------------------------------------------------------------------------------------------------
def test_throughput_counts_frames_and_shares_all_time_out(built, project, tmp_path):
    from core.media_write import write_video

    speaking = sorted((built / "data/download/synthetic-en/media").glob("*.mkv"))[0]
    (tmp_path / "grey").mkdir()
    grey = tmp_path / "grey" / "nobody.mkv"
    write_video(grey, [np.full((96, 96, 3), 128, np.uint8)] * 60, audio=np.zeros(60 * 640, np.int16), audio_codec="flac")
    assert throughput.find_videos(tmp_path) == [grey]
    assert throughput.first_of_each_size([speaking, grey], None, "96x96") == [grey]
    result = throughput.measure([speaking, grey], project, processes=1)
    files = {f["file"]: f for f in result["files"]}
    assert files["nobody.mkv"]["n_frames"] == 0 and files["nobody.mkv"]["refused"]
    assert files[speaking.name]["n_frames"] == files[speaking.name]["n_decoded"] > 50
    (row,) = result["sizes"]
    assert row["size"] == "144x144" and row["n_files"] == 1 and row["passes"] is None and result["passes"] is None
    assert sum(row["parts"].values()) == pytest.approx(1)
    assert all(row["parts"][p] > 0 for p in ("decode", "shots and voice", "finder", "mesh", "cut", "jpeg", "features"))
    assert 0 < row["share_of_decode_alone"] < 1
    assert "nobody.mkv" in throughput.text(result)


def test_scaling_times_the_stages_themselves(built, tmp_path, monkeypatch, capsys):
    from core.params import check_params, load_params
    from flows.workspace import merged

    for path in built.iterdir():  # the workspace, but with data of its own
        if path.name not in ("data", ".babelface"):
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "data").mkdir()
    for made in ("download", "inspect"):
        (tmp_path / "data" / made).symlink_to(built / "data" / made)
    monkeypatch.chdir(tmp_path)
    arm = throughput.time_stages("synthetic-x-gap", load_params(built / "params.yaml"), 1)
    assert list(arm["stages"]) == ["segment", "track", "crop", "features"] and arm["workers"] == 1
    assert all(s["workers_cpu_s"] > 0 for s in arm["stages"].values())
    rows = read_rows(built / "data/features/synthetic-x-gap", "features", ["clip_id", "n_frames"])
    assert arm["n_frames"] == sum({r["clip_id"]: r["n_frames"] for r in rows}.values())
    raw = yaml.safe_load((built / "params.yaml").read_text())
    params = check_params(merged(raw, throughput.overrides(tmp_path, "yunet", "facemesh")))
    assert [i.name for i in params.instances()] == ["real-en"]
    assert (params.track.finder, params.track.landmarker) == ("yunet", "facemesh")


def test_scaling_is_judged_by_the_clock():
    def arm(workers: int, clock_s: float) -> dict:
        seconds = {"clock_s": clock_s, "own_cpu_s": 1.0, "workers_cpu_s": 8.0}
        return {"workers": workers, "n_frames": 9, "stages": {"track": seconds}}

    found = throughput.compared(arm(1, 10.0), arm(2, 5.5))
    assert found["by_clock"] == pytest.approx(10 / 5.5) and found["by_cpu"] == pytest.approx(9 / 5) and found["passes"]
    assert not throughput.compared(arm(1, 10.0), arm(2, 6.0))["passes"]
    result = {"finder": "f", "landmarker": "m", "views": [], "processes": 2, "load_average": [1.0], "sizes": [], "files": []}
    assert "executor.workers 2 is 1.82 times as fast" in throughput.text(result | {"scaling": found | {"n_files": 2}})


@pytest.mark.parametrize(("cpu_s", "passes"), [(1.0, True), (2.0, False)])
def test_a_target_of_frames_per_second_can_be_missed(cpu_s, passes):
    parts = dict.fromkeys(throughput.PARTS, 0.0) | {"mesh": cpu_s}
    one = {"file": "a", "size": "1280x720", "n_frames": 75, "n_decoded": 100, "refused": [], "cpu_s": parts, "wall_s": parts,
           "alone_cpu_s": 0.5, "alone_wall_s": 0.5}
    (row,) = throughput.summed([one], 2, "mediapipe")
    assert (row["fps"], row["decode_alone_fps"], row["target"]) == (150 / cpu_s, 400, 100)
    assert row["passes"] is passes
    assert throughput.summed([one | {"n_frames": 0}], 2, "mediapipe") == []


def test_a_folder_without_videos_is_an_error_of_one_line(tmp_path, capsys):
    assert throughput.main([str(tmp_path)]) == 2
    assert "no video file" in capsys.readouterr().err


# ---- stats --------------------------------------------------------------------------------------------------------------------
def test_simulated_false_alarms_hold_the_band_for_reports_and_not_for_clips():
    for design, n_speakers in (("1 to 12", 6), ("5 each", 10)):
        row = stats.scenario("normal", design, n_speakers, 1000, seed=2)
        assert all(abs(row["alarms"][name] - 0.05) < 0.022 for name in stats.REPORTED), row  # three standard errors
        assert row["alarms"]["naive, clips"] > 0.2 and row == stats.scenario("normal", design, n_speakers, 1000, seed=2)


def test_the_benchmark_measures_what_reports_call():
    """On the same draws the many-at-once arithmetic and the public functions raise the same alarms."""
    counts = stats.counts_of("1 to 12", 7)
    clips, others = (stats.draw(np.random.default_rng(k), 40, counts, "normal") + np.linspace(0, 1.5, 40)[:, None] * (k == 0)
                     for k in (0, 1))
    seen = stats.alarms(clips, others, counts, seed=5)
    ids = [f"{g:02d}" for g, n in enumerate(counts) for _ in range(n)]
    for k in range(40):
        e = metric_stats.mean_interval(clips[k], ids, 5, n_resamples=stats.N_RESAMPLES)
        p = metric_stats.sign_flip_test(clips[k], ids, 5, stats.N_RESAMPLES)
        q = metric_stats.cluster_permutation(clips[k], ["a" + i for i in ids], others[k], ["b" + i for i in ids], 5,
                                             stats.N_RESAMPLES)
        assert seen["interval"][k] == (e.low > 0 or e.high < 0) and seen["sign-flip test"][k] == (p <= 0.05)
        assert seen["two-sample permutation"][k] == (q <= 0.05)
    assert 0 < seen["interval"].sum() < 40


def test_the_tables_of_the_statistics_and_their_verdict():
    result = stats.measure(200, speakers=(10,))
    assert [r["judged"] for r in result["scenarios"]] == [True] * 6 + [False] * 3
    assert "one has most" in stats.text(result) and 0.6 < result["power"][0]["found"] < 0.95
    assert result["families"][0]["any_after_holm"] <= result["families"][0]["any_below"]
    bad = {**result, "passes": False}
    assert "FAIL" in stats.text(bad)
    assert [(r["n_speakers"], r["shared"], r["clips"], r["judged"]) for r in result["across"]] == [
        (2, False, "1 to 12", False), (10, False, "1 to 12", True), (10, False, "one has most", True),
        (10, True, "1 to 12", True), (10, True, "one has most", True)]
    assert all(r["missed"].keys() == {"mean", "difference", "one seen", "slope", "kept"} for r in result["across"])


@pytest.mark.parametrize("shared", [False, True])
def test_simulated_intervals_across_languages_miss_the_truth_about_as_often_as_announced(shared, monkeypatch):
    row = stats.misses(6, shared, 250, seed=3)
    assert all(0.002 < share < 0.105 for share in row["missed"].values()), row  # four standard errors
    whole = stats.strata.jackknife
    monkeypatch.setattr(stats.strata, "jackknife", lambda drawn, figure, level, **more: whole(drawn, figure, 0.6, **more))
    assert all(share > 0.2 for share in stats.misses(6, shared, 100, seed=3)["missed"].values()), "narrow intervals are seen"


def test_the_report_benchmark_counts_its_rows_and_can_fail(monkeypatch):
    from bench import report

    monkeypatch.setattr(report, "LANGUAGES", report.LANGUAGES[:4])
    monkeypatch.setattr(report, "SYSTEMS", dict(list(report.SYSTEMS.items())[:3]))
    found = report.measure(1000)
    assert 900 <= found["rows"] <= 1500 and found["figures"] > 1000 and found["page_mb"] > 0.5
    assert found["total_cpu_s"] == pytest.approx(sum(found["cpu_s"].values()), abs=0.1)
    rows = report.fabricate(1000)
    assert {r["system"] for r in rows} == {"real", "still", *report.SYSTEMS}
    assert len({r["generated_id"] for r in rows}) == len(rows)


def test_every_benchmark_is_listed(root):
    assert set(benchmarks()) == {p.stem for p in (root / "bench").glob("*.py")} - {"__init__", "__main__"}
    assert all(benchmarks().values())


# ---- score_scale ------------------------------------------------------------------------------------------------------------------
def scale_arm(workers, rate, last=400):
    return {"workers": workers, "n_clips": 60, "rejected": 0, "clips_per_s": rate, "cpu_s_per_clip": 1.0,
            "peak_mb": {"25%": [380] * workers, "50%": [390] * workers, "100%": [last] * workers}}


def test_scaling_is_the_ratio_of_both_arms_and_memory_must_not_grow():
    from bench import score_scale

    good = score_scale.compared(scale_arm(1, 0.5), scale_arm(2, 0.95))
    assert good["ratio"] == pytest.approx(1.9) and good["ratio_by_cpu"] == 2 and good["flat"]
    bad = score_scale.compared(scale_arm(1, 0.5), scale_arm(2, 0.6, last=600))
    assert bad["ratio"] == pytest.approx(1.2) and not bad["flat"]
    said = score_scale.text(bad | {"load": [1, 2, 3], "cpus": 2})
    assert "1.20 times as fast" in said and "NOT flat" in said and "380 380; 390 390; 600 600" in said


def test_what_a_process_used_is_read_and_one_that_ended_is_left_out():
    import psutil

    from bench import score_scale

    seconds, peak = score_scale._used(psutil.Process())
    assert seconds > 0 and peak > 20
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    child.wait()
    assert score_scale._used(process) is None

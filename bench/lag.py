"""How often a trained sync expert finds a lag that was put in on purpose, on held-out speakers, per language.

    python -m bench.lag --workspace DIR [--seconds 3] [--out FILE.json]
    python -m bench.lag --real FOLDER [--workspace DIR | --expert WEIGHTS] [--seconds 3] [--out FILE.json]

DIR is a finished workspace (or the project itself). Every test track's stored view is cut into stretches of --seconds; the sound
of each is moved by every whole lag of -8..+8 frames, taken from the same clip, so that nothing is padded; the answer is the lag
of
-15..+15 with the smallest mean distance over the pairs there are. Right means within one frame: 3 in 31 by guessing. Beside it
stand the exact rate, stretches of 1 s, and the control: the same with the sound of another clip, which nobody can answer. The
trials of one stretch are not independent (a wrong best match moves along with the lag), so intervals go by speakers, and the
control scatters around chance by the number of clips, not of trials.
--real does the same with real video: FOLDER holds videos and an index.csv (file, language, speaker, kind), of which the rows of
kind `real` count, tracked and cut as syncnet-v2-direct does; a clip longer than --seconds by 0.84 s or more gives trials. The
verdict on a language is that of every report (metrics/lags.py), asked of the first stretch of each clip: `expert_not_valid_here`
where six clips or more find no more than guessing would, `too_few_clips` below six.
An SVG of mean distance against lag is written beside the JSON. Exit status 1 where a real language stays under the threshold.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.timing import FPS, SYNCNET_FRAMES
from metrics.lags import WITHIN_FRAMES, lag_verdict, offsets_at
from metrics.robustness import NOT_VALID
from metrics.stats import mean_interval
from metrics.sync import VSHIFT, chance_accuracy, lse
from metrics.validity import FEW_CLIPS

LAGS = tuple(range(-8, 9))  # frames; > 0: the sound comes earlier than the mouth, as in metrics.sync
THRESHOLD = 0.95
SHORT_S = 1.0


@dataclass(frozen=True, slots=True)
class Clip:
    """One test track as the expert sees it: embeddings float32 (N, D) each, window i of both beginning at frame i."""

    track_id: str
    recording_id: str
    language: str
    cluster: str
    video: np.ndarray
    audio: np.ndarray


def places(n_windows: int, seconds: float) -> list[int]:
    """First windows of the stretches of a clip, side by side and centred, such that every lag of LAGS still falls inside the
    clip. ValueError for stretches too short to be searched."""
    length = windows_of(seconds)
    room, step, reach = n_windows - length - 2 * max(LAGS), round(seconds * FPS), max(LAGS)
    if room < 0:
        return []
    first = reach + room % step // 2
    return [first + k * step for k in range(room // step + 1)]


def windows_of(seconds: float) -> int:
    """Number of sync windows in a stretch of video."""
    length = round(seconds * FPS) - SYNCNET_FRAMES + 1
    if length <= VSHIFT:
        least = (VSHIFT + SYNCNET_FRAMES) / FPS
        raise ValueError(f"--seconds {seconds:g}: at least {least:g} s are needed to search +-{VSHIFT} frames")
    return length


def offsets(video: np.ndarray, audio: np.ndarray, at: int, audio_at: int, length: int) -> list[int]:
    """The offset found for each of LAGS: the stretch of `video` from window `at`, the sound from `audio_at` + lag."""
    return offsets_at(video, audio, LAGS, at, audio_at, length)


def partner(clip: Clip, clips: list[Clip], seconds: float) -> Clip | None:
    """Another clip for the control: of the same language and another speaker where there is one, long enough, the next in
    order."""
    others = [c for c in clips if (c.language, c.recording_id) != (clip.language, clip.recording_id)
              and places(len(c.audio), seconds)]

    def rank(other: Clip) -> tuple[bool, bool, bool, str]:
        return other.language != clip.language, other.cluster == clip.cluster, other.track_id < clip.track_id, other.track_id

    return min(others, key=rank, default=None)


def examine(clips: list[Clip], everyone: list[Clip], seconds: float) -> dict[str, Any]:
    """Rates over all stretches and lags of one language's clips, with numbers and an interval over speakers; null where there is
    none. `everyone`: where the sound of the control comes from."""
    length = windows_of(seconds)
    errors, controls, clusters, curves, wrong_curves, left_out = [], [], [], [], [], 0
    first: dict[str, list[int]] = {}  # of each clip's first stretch: what the report's rule counts
    for clip in clips:
        starts = places(len(clip.audio), seconds)
        left_out += not starts
        other = partner(clip, everyone, seconds)
        for at in starts:
            found = offsets(clip.video, clip.audio, at, at, length)
            first.setdefault(clip.track_id, found)
            errors.append(np.abs(np.array(found) - LAGS))
            clusters.append(clip.cluster)
            curves.append(lse(clip.video[at:at + length], clip.audio[at:at + length], padded=False).mean_dist)
            if other is not None:
                there = places(len(other.audio), seconds)[0]
                controls.append(np.abs(np.array(offsets(clip.video, other.audio, at, there, length)) - LAGS))
                wrong_curves.append(lse(clip.video[at:at + length], other.audio[there:there + length], padded=False).mean_dist)
    if not errors:
        return {"n_speakers": 0, "n_clips": 0, "n_trials": 0, "too_short": left_out, "within_1": None, "exact": None, "low": None,
                "high": None, "by_lag": None, "mismatched": None, "curve": None, "verdict": None}
    wrong, control = np.array(errors), np.array(controls)
    right = wrong <= WITHIN_FRAMES
    spread = mean_interval(right.mean(1), clusters)
    return {
        "n_speakers": len(set(clusters)), "n_clips": len(errors), "n_trials": right.size, "too_short": left_out,
        "verdict": asdict(lag_verdict(list(first.values()), LAGS)), "within_1": float(right.mean()),
        "exact": float((wrong == 0).mean()),
        "low": None if spread.low is None else max(0.0, spread.low),
        "high": None if spread.high is None else min(1.0, spread.high),
        "by_lag": {str(lag): float(r) for lag, r in zip(LAGS, right.mean(0), strict=True)},
        "mismatched": {"n_trials": control.size, "within_1": float((control <= WITHIN_FRAMES).mean())} if controls else None,
        "curve": {"lags_frames": list(range(-VSHIFT, VSHIFT + 1)), "mean": np.mean(curves, 0).tolist(),
                  "p10": np.quantile(curves, 0.1, 0).tolist(), "p90": np.quantile(curves, 0.9, 0).tolist(),
                  "mismatched": np.mean(wrong_curves, 0).tolist() if wrong_curves else None},
    }


def read_clips(expert: Any, view: str, instance: Any) -> list[Clip]:
    """The real test tracks of one instance (params.instances()) in the current folder, embedded by `expert`, sorted by track."""
    from core.shards import ViewStore, read_rows, unpack
    from core.stage import UserError, out_folder
    from models.experts.syncnet import N_MFCC

    store = ViewStore(out_folder("crop", instance.name))
    stored = set(store.ids(view))
    if not stored:
        raise UserError(f"{instance.name}: the expert looks at the view {view!r}, which is not stored; add it to crop.store and "
                        "build again")
    rows = read_rows(out_folder("features", instance.name), "features", ["track_id", "mfcc_syncnet"])
    sound = {r["track_id"]: r["mfcc_syncnet"] for r in rows}
    clips = []
    for row in sorted(read_rows(out_folder("split", "all"), "splits"), key=lambda r: r["track_id"]):
        track = row["track_id"]
        if (row["corpus"], row["language"], row["split"]) != (instance.corpus, instance.language, "test") or track not in stored:
            continue
        n = row["n_frames"] - SYNCNET_FRAMES  # the sound ends one window early: 4 F - 1 rows
        if n < 1 or sound.get(track) is None:
            continue
        video = expert.embed_video(store.frames(track, view, 0, row["n_frames"]))[:n]
        audio = expert.embed_audio(unpack(sound[track], np.float32, (-1, N_MFCC)), n)
        clips.append(Clip(track, row["recording_id"], row["language"], row["cluster"], video, audio))
    return clips


def measure(workspace: Path, seconds: float = 3.0, expert: Any = None) -> dict[str, Any]:
    """Everything this benchmark says about a finished workspace: settings, `languages` (planted ones are marked and do not count)
    and `passes`. expert: another than the workspace's own, with the same view; for controls."""
    from core.params import load_params
    from core.weights import load_torch
    from models.experts.syncnet import open_sync
    from stages.score import find_expert

    import torch

    torch.set_num_threads(1)
    with contextlib.chdir(workspace):
        params = load_params()
        found = find_expert(params)
        size = params.crop.views[found["view"]].size
        size = (size, size) if isinstance(size, int) else tuple(size)
        if expert is None:
            expert = open_sync("syncnet" if found["network"] == "full" else "small", load_torch(Path(found["path"])), size)
        by_instance = {i: read_clips(expert, found["view"], i) for i in params.instances()}
    real = [c for i, clips in by_instance.items() if not i.planted for c in clips]
    rows = []
    for instance, clips in by_instance.items():
        everyone = clips if instance.planted else real
        rows.append({"instance": instance.name, "language": instance.language, "planted": instance.planted,
                     **examine(clips, everyone, seconds), "short": examine(clips, everyone, SHORT_S)})
        rows[-1]["short"].pop("curve")
        rows[-1]["passes"] = None if instance.planted else (rows[-1]["within_1"] or 0.0) >= THRESHOLD
    return {"expert": found["name"], "expert_sha256": found["sha256"], "seconds": seconds, "short_s": SHORT_S,
            "lags_frames": list(LAGS),
            "search_frames": VSHIFT, "threshold": THRESHOLD, "chance": chance_accuracy(VSHIFT, WITHIN_FRAMES), "languages": rows,
            "passes": any(not r["planted"] for r in rows) and all(r["passes"] for r in rows if not r["planted"])}


def read_real(folder: Path, scorer: Any) -> tuple[list[Clip], dict[str, int]]:
    """Every face of every real clip that a folder's index.csv names, embedded; and how many clips were refused, by reason."""
    import csv

    from core.records import Reject, cluster_of
    from models.experts.syncnet import embed_clip
    from stages.figures import Unscored
    from stages.score_files import Entry

    clips, refused = [], {}
    with open(folder / "index.csv", newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r.get("kind", "real") == "real"]
    for row in sorted(rows, key=lambda r: r["file"]):
        entry = Entry(row["file"], folder / row["file"], language=row["language"] or "und", speaker=row["speaker"] or None,
                      system="real")
        try:
            for k, take in enumerate(t for t, _ in scorer.takes(entry)):
                if take.face is None or take.no_sync or take.samples is None:
                    raise Unscored(take.no_track if take.face is None else take.no_sync or take.no_sound)
                video, audio = embed_clip(scorer.judge.expert, scorer.judge.crops(take), take.samples)
                clips.append(Clip(f"{entry.name}-t{k}", entry.name, entry.language, cluster_of(entry.speaker, entry.name),
                                  video, audio))
        except (Unscored, Reject) as refusal:
            refused[refusal.reason] = refused.get(refusal.reason, 0) + 1
    return clips, refused


def measure_real(folder: Path, scorer: Any, seconds: float = 3.0) -> dict[str, Any]:
    """What `measure` says, of real video: one entry per language of the index, each with `reason` None, expert_not_valid_here, or
    too_few_clips or too_short where nothing can be said."""
    clips, refused = read_real(folder, scorer)
    found, rows = scorer.judge.config["expert"], []
    for language in sorted({c.language for c in clips}):
        own = [c for c in clips if c.language == language]
        rows.append({"instance": language, "language": language, "planted": False, **examine(own, clips, seconds),
                     "short": examine(own, clips, SHORT_S)})
        rows[-1]["short"].pop("curve")
        rows[-1]["passes"] = (rows[-1]["within_1"] or 0.0) >= THRESHOLD
        rows[-1]["reason"] = reason_of(rows[-1]["verdict"])
    return {"expert": found["name"], "expert_sha256": found["sha256"], "seconds": seconds, "short_s": SHORT_S,
            "lags_frames": list(LAGS),
            "search_frames": VSHIFT, "threshold": THRESHOLD, "chance": chance_accuracy(VSHIFT, WITHIN_FRAMES), "languages": rows,
            "refused": dict(sorted(refused.items())), "passes": bool(rows) and all(r["passes"] for r in rows)}


def reason_of(verdict: dict[str, Any] | None) -> str | None:
    """Why scores of the expert cannot be read, by the rule that every report applies (metrics.lags); None where they can."""
    if verdict is None:
        return "too_short"
    return {True: None, False: NOT_VALID, None: FEW_CLIPS}[verdict["heard"]]


def text(result: dict[str, Any]) -> str:
    """The result as a table."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f}"

    head = (f"{'language':>10} {'speakers':>8} {'clips':>6} {'trials':>7} {'within 1':>9} {'95 % interval':>14} {'exact':>6} "
            f"{'mismatched':>11}")
    lines = [f"expert {result['expert']}: share of trials whose lag was found, per cent; stretches of {result['seconds']:g} s; "
             f"lags {LAGS[0]}..+{LAGS[-1]}, search +-{VSHIFT}; chance {share(result['chance'])}",
             head + f" | {result['short_s']:g} s: trials, within 1, exact, mismatched"]
    for r in result["languages"]:
        s = r["short"]
        wrong, short_wrong = ((x["mismatched"] or {}).get("within_1") for x in (r, s))
        interval = f"{share(r['low'])}..{share(r['high'])}" if r["low"] is not None else "-"
        verdict = "planted" if r["planted"] else "pass" if r["passes"] else "FAIL"
        note = f", {r['too_short']} too short" if r["too_short"] else ""
        note += f", {r['reason']}" if r.get("reason") else ""
        lines.append(f"{r['language']:>10} {r['n_speakers']:>8} {r['n_clips']:>6} {r['n_trials']:>7} {share(r['within_1']):>9} "
                     f"{interval:>14} {share(r['exact']):>6} {share(wrong):>11} | {s['n_trials']:>6} {share(s['within_1']):>6} "
                     f"{share(s['exact']):>6} {share(short_wrong):>6}  {verdict}{note}")
    lines.append(f"{'pass' if result['passes'] else 'FAIL'}: at least {share(THRESHOLD)} % within {WITHIN_FRAMES} frame in every "
                 "real language")
    return "\n".join(lines)


STYLE = """text{font:10px system-ui,sans-serif;fill:#444}.name{font-size:12px;font-weight:600;fill:#111}.axis-title{fill:#666}
.grid{stroke:#e4e4e4}.zero{stroke:#999}.line{fill:none;stroke-width:1.6}.real{stroke:#0b62a3}.band{stroke:#0b62a3;stroke-width:.6;opacity:.6}
.wrong{stroke:#b4540a;stroke-dasharray:4 3}"""


def plot(result: dict[str, Any], columns: int = 4) -> str:
    """A stand-alone SVG: mean distance against lag, one small chart per language, all with one vertical scale."""
    from markupsafe import escape

    from report.charts import line_chart, nice_ticks

    rows = [r for r in result["languages"] if r["curve"]]
    wide, high, top = 260, 176, 40
    every = [d for r in rows for name in ("p10", "p90", "mismatched") for d in r["curve"][name] or ()]
    ticks = nice_ticks(min(every), max(every), 3) if every else [0.0, 1.0]
    parts = []
    for k, r in enumerate(rows):
        x, y, c = k % columns * wide, top + k // columns * high, r["curve"]
        lines = [{"x": c["lags_frames"], "y": c[name], "css": css, "label": name} for name, css in
                 (("mismatched", "wrong"), ("p10", "band"), ("p90", "band"), ("mean", "real")) if c[name]]
        chart = str(line_chart(lines, title=f"{r['language']}: distance against lag", x_title="lag of the sound, frames",
                               span=(ticks[0], ticks[-1]), zero=True))
        planted = " (planted)" if r["planted"] else ""
        parts.append(f'<text class="name" x="{x + 42}" y="{y + 14}">{escape(r["language"])}{planted}, n {r["n_clips"]}</text>')
        parts.append(chart.replace("<svg ", f'<svg x="{x}" y="{y + 18}" width="{wide}" height="150" ', 1))
    width, height = columns * wide, top + -(-max(len(rows), 1) // columns) * high
    title = (f"Mean distance of sound and mouth against lag, held-out speakers, {result['seconds']:g} s: own sound "
             "(blue; thin: a tenth of the clips lie below, a tenth above), another clip's sound (dashed)")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}"><style>{STYLE}</style><rect width="100%" height="100%" fill="#fff"/><text x="14" '
            f'y="22">{title}</text>{"".join(parts)}</svg>\n')


def save(result: dict[str, Any], out: Path) -> Path:
    """Writes the result and its plot; the path of the plot."""
    from core.shards import write_bytes, write_json

    write_json(out, result)
    drawing = out.with_suffix(".svg")
    write_bytes(drawing, plot(result).encode())
    return drawing


def open_scorer(workspace: Path, expert: Path | None) -> Any:
    """What tracks, cuts and embeds real video: with the named expert, or the workspace's own."""
    from core.params import load_params
    from stages.score import find_expert
    from stages.score_files import Scorer

    expert = expert.resolve() if expert else None
    with contextlib.chdir(workspace):
        params = load_params()
        return Scorer(expert=expert or Path(find_expert(params)["path"]).resolve(), params=params)


def main(arguments: list[str] | None = None) -> int:
    """Prints the table and writes JSON and SVG; 1 where the threshold is missed, 2 where the workspace cannot be read."""
    from core.params import ParamsError
    from core.stage import UserError

    parser = argparse.ArgumentParser(prog="python -m bench.lag", description=__doc__.splitlines()[0])
    parser.add_argument("--real", type=Path, help="a folder of real videos with an index.csv, instead of the "
                        "workspace's test tracks")
    parser.add_argument("--expert", type=Path, help="with --real: the sync expert's weights (default: the workspace's)")
    parser.add_argument("--workspace", type=Path, default=Path("."), help="a finished workspace (default: this folder)")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of the stretches (default 3)")
    parser.add_argument("--out", type=Path, help="JSON file (default: results/bench/lag.json of the workspace)")
    chosen = parser.parse_args(arguments)
    out = chosen.out or chosen.workspace / "results" / "bench" / "lag.json"
    try:
        result = measure_real(chosen.real, open_scorer(chosen.workspace, chosen.expert),
                              chosen.seconds) if chosen.real else measure(
            chosen.workspace, chosen.seconds)
    except (UserError, ParamsError, FileNotFoundError, ValueError) as error:
        print(f"bench.lag: {error}", file=sys.stderr)
        return 2
    print(text(result))
    print(f"written: {out} and {save(result, out)}")
    return 0 if result["passes"] else 1


if __name__ == "__main__":
    raise SystemExit(main())

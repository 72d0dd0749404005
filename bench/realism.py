"""How well a landmarker reads the rendered face: landmark error, lip gap correlation (per identity and per language), viseme
accuracy; a contact sheet.

Run as `python -m bench.realism [--identities N] [--first-seed S] [--json FILE] [--sheet FILE.png]`, with BABELFACE_MODELS naming
the folder that holds the YuNet and FaceLandmarker files. Every figure comes with the number of frames behind it. Frames in which
no face was found are in no mean, so their share has a limit of its own. Identities are drawn from seeds 1000, 1001, ..., or from
--first-seed on; the renderer's landmark calibration was made on others. The sentences are the corpus's own and know no such seed.

The crop of the viseme test and two details of the mouth were chosen while looking at seeds from 1000 on, so judge by others too:
docs/benchmarks.md has both. Half of the people make the centroids, so with fewer than a dozen the viseme accuracy falls.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from corpora.synthetic.face import Identity, sample_identity
from corpora.synthetic.render import POINTS, render, truth_mouth, truth_points
from corpora.synthetic.state import MOUTH, FaceMotion
from corpora.synthetic.visemes import VISEMES

FIRST_SEED = 1000
FINDER, LANDMARKER = "yunet_n_640_640.onnx", "face_landmarker_v2_with_blendshapes.task"
# Yaw and pitch, degrees.
POSES = ((0, 0), (-15, 0), (15, 0), (-30, 0), (30, 0), (0, -15), (0, 15), (-30, -15), (30, -15), (-30, 15), (30, 15))
MOUTHS = ({}, {"open": 0.45, "teeth": 0.5}, {"open": 0.2, "wide": -0.8})
GROUPS = {
    "eyes": (33, 133, 160, 159, 158, 144, 145, 153, 263, 362, 387, 386, 385, 373, 374, 380),
    "brows": (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285),
    "nose": (168, 6, 197, 195, 5, 4, 1, 2, 98, 64, 48, 327, 294, 278),
    "forehead and cheeks": (151, 9, 8, 50, 205, 280, 425),
    "outer lips": (61, 40, 39, 37, 0, 267, 269, 270, 291, 321, 405, 314, 17, 84, 181, 91),
    "inner lips": (78, 80, 81, 82, 13, 312, 311, 310, 308, 318, 402, 317, 14, 87, 178, 88),
    "chin": (18, 152, 148, 176, 377, 400),
}
LIMITS = {"landmark_error": 0.05, "gap_correlation": 0.95, "viseme_accuracy": 0.90, "missed_share": 0.02}
Reader = Callable[[np.ndarray], np.ndarray | None]


def reader(models: Path) -> Reader:
    """A function from a frame (uint8 RGB) to its landmarks, float32 (478, 2) pixels, or None where no face is found."""
    from models.experts.finder import open_finder
    from models.experts.landmarks import open_landmarker

    finder, landmarker = open_finder(models / FINDER, "yunet"), open_landmarker(models / LANDMARKER, "mediapipe")

    def read(frame: np.ndarray) -> np.ndarray | None:
        found = finder.find(frame)
        return landmarker.points(frame, found[0].box)[0] if found else None

    return read


def identities(n: int, first: int = FIRST_SEED) -> list[Identity]:
    """`n` identities, one from each seed from `first` on."""
    return [sample_identity(np.random.default_rng(seed)) for seed in range(first, first + n)]


def landmark_errors(people: list[Identity], read: Reader, size: int = 256) -> dict:
    """Errors of the landmarks over poses and mouths, in shares of the true distance 33-263 in the same frame.

    `error` has shape (identities, poses, mouths, points), NaN where no face was found.
    """
    error = np.full((len(people), len(POSES), len(MOUTHS), len(POINTS)), np.nan)
    a, b = POINTS.index(33), POINTS.index(263)
    for i, person in enumerate(people):
        for j, (yaw, pitch) in enumerate(POSES):
            for k, mouth in enumerate(MOUTHS):
                motion = FaceMotion.still(1, yaw=yaw, pitch=pitch, **mouth)
                seen = read(next(render(person, motion, size)))
                if seen is not None:
                    truth = truth_points(person, motion, size)[0]
                    error[i, j, k] = np.linalg.norm(seen[list(POINTS)] - truth, axis=1) / np.linalg.norm(truth[a] - truth[b])
    return {
        "error": error, "mean": _mean(error), "n_frames": int(error.shape[0] * error.shape[1] * error.shape[2]),
        "n_missed": int(np.isnan(error[..., 0]).sum()),
        "by_pose": {f"{yaw:+d},{pitch:+d}": _mean(error[:, j]) for j, (yaw, pitch) in enumerate(POSES)},
        "by_group": {name: _mean(error[..., [POINTS.index(p) for p in points]]) for name, points in GROUPS.items()},
        "by_identity": [_mean(error[i]) for i in range(len(people))],
        "by_point": {str(p): _mean(error[..., k]) for k, p in enumerate(POINTS)},
    }


def _mean(values: np.ndarray) -> float:
    """The mean without NaN; NaN, and no warning, where nothing else is there."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def speaking(n_frames: int, rng: np.random.Generator, size_of_motion: float = 1.0) -> FaceMotion:
    """A smooth random mouth on a smoothly moving head: yaw within about 25 degrees, pitch 10, roll 8, a little translation."""
    from scipy.ndimage import gaussian_filter1d

    def wave(sigma: float, low: float, high: float) -> np.ndarray:
        x = gaussian_filter1d(rng.standard_normal(n_frames + 200), sigma)[100:-100]
        x = np.clip(x / (2 * x.std()), -1, 1)
        return (low + (high - low) * (x + 1) / 2).astype(np.float32)

    m = size_of_motion
    values = {name: np.zeros(n_frames, np.float32) for name in FaceMotion.__slots__}
    values |= {"scale": wave(20, 1 - 0.06 * m, 1 + 0.06 * m), "light": wave(25, 0.9, 1.1), "open": np.clip(wave(2.5, -0.1, 0.9),
                                                                                                           0, 1),
               "wide": wave(4, -0.8, 0.8), "teeth": wave(6, 0, 1), "tongue": np.clip(wave(5, -0.6, 0.8), 0, 1),
               "press": np.clip(wave(2.5, -2.2, 1.3), 0, 1), "yaw": wave(18, -25 * m, 25 * m), "pitch": wave(18, -10 * m, 10 * m),
               "roll": wave(18, -8 * m, 8 * m), "dx": wave(25, -0.03 * m, 0.03 * m), "dy": wave(25, -0.02 * m, 0.02 * m),
               "brow": wave(12, -0.3, 0.6)}
    return FaceMotion(**values)


def lip_gap_correlation(frames: Iterable[np.ndarray], truth_gap: np.ndarray, read: Reader) -> tuple[float, int]:
    """Pearson's correlation of the landmarker's inner lip gap with the true one, and the number of frames it was read in.

    The gap read is the distance 13-14 over the distance 33-263 of the same frame; frames without a face are left out. NaN where
    fewer than two are left.
    """
    seen = [read(frame) for frame in frames]
    kept = [k for k, points in enumerate(seen) if points is not None]
    gap = [np.linalg.norm(seen[k][13] - seen[k][14]) / np.linalg.norm(seen[k][33] - seen[k][263]) for k in kept]
    return (float(np.corrcoef(gap, np.asarray(truth_gap)[kept])[0, 1]) if len(kept) > 1 else float("nan")), len(kept)


def gap_correlations(people: list[Identity], read: Reader, n_frames: int = 75, first: int = FIRST_SEED) -> dict:
    """`lip_gap_correlation` of one random sequence per identity."""
    rows = []
    for k, person in enumerate(people):
        motion = speaking(n_frames, np.random.default_rng((first, k)))
        rows.append(lip_gap_correlation(render(person, motion), truth_mouth(person, motion)["gap"], read))
    values = [r for r, _ in rows]
    return _correlations(values, "by_identity", len(people) * n_frames, sum(n for _, n in rows))


def _correlations(values: list[float], by: str, n_frames: int, n_read: int) -> dict:
    """Figures of some correlations; one that is NaN makes them NaN."""
    return {"min": float(np.min(values)), "mean": float(np.mean(values)), by: values, "n_frames": n_read,
            "n_missed": n_frames - n_read}


def spoken_correlations(read: Reader, n_speakers: int = 4) -> dict:
    """`lip_gap_correlation` of sentences as the corpus makes them, per language of params.yaml, and per speaker of it.

    "drawn": everything in corpora.synthetic.hard off, as the renderer draws a mouth that opens fully. "as_built": with it, so
    quiet mouths, blur and noise are in; that tells how well landmarks can follow the corpus, not how good the drawing is.
    """
    import tempfile

    from core.media import read_frames
    from core.params import load_params
    from corpora.synthetic import adapter

    params = load_params(Path(__file__).resolve().parent.parent / "params.yaml").corpora["synthetic"]
    config = params.model_dump() | {"clips_per_speaker": 1}
    config["languages"] = {tag: {"speakers": n_speakers} for tag, entry in params.languages.items() if not entry.twin_of}
    found = {}
    for name, hard in (("drawn", {}), ("as_built", config["hard"])):
        rows = found[name] = {}
        for tag in config["languages"]:
            seen, n_frames = [], 0
            for item in adapter.items(config, tag)[0]:
                with tempfile.TemporaryDirectory() as folder:
                    made = adapter.fetch(item, config | {"hard": hard}, Path(folder))
                    seen.append(lip_gap_correlation(read_frames(made.path), made.truth["gap"], read))
                    n_frames += len(made.truth["gap"])
            rows[tag] = _correlations([value for value, _ in seen], "by_speaker", n_frames, sum(n for _, n in seen))
    return found


def mouth_crop(frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A grey mouth, float32 (32, 48), mean 0 and spread 1: centred between the mouth's corners and 0.55 of the eye distance wide.

    The eyes set size and slant (not the mouth's own corners), so that rounding and spreading can be seen.
    """
    import cv2

    at = {p: points[POINTS.index(p)] for p in (33, 263, 61, 291)}
    across = at[263] - at[33]
    k = np.hypot(*across) * 0.55 / 48
    turn = across / np.hypot(*across)
    centre = (at[61] + at[291]) / 2 + np.array([-turn[1], turn[0]]) * 2.5 * k
    axes = np.array([[turn[0], -turn[1]], [turn[1], turn[0]]]) * k
    matrix = np.column_stack([axes, centre - axes @ (23.5, 15.5)])
    crop = cv2.warpAffine(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), matrix, (48, 32),
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    crop = crop.astype(np.float32)
    return (crop - crop.mean()) / (crop.std() + 1e-6)


def viseme_accuracy(people: list[Identity], per_viseme: int = 6, first: int = FIRST_SEED) -> dict:
    """Accuracy of the nearest centroid (Euclid, on `mouth_crop`) on the last half of the people, centroids from the first.

    "accuracy" is on crops from which each person's own mean mouth over all samples is taken, so that skin, beard and lip colour
    do not count; "accuracy_without_centring" is on the crops as they are, where centroids of few people carry those people's
    looks.

    Jitter of each sample: every mouth target times 0.85 .. 1.0, yaw within 8 and pitch within 5 degrees, roll within 4, scale
    0.95 .. 1.05, light 0.85 .. 1.15, camera noise on.
    """
    names, half = sorted(VISEMES), len(people) // 2
    crops: dict[bool, list] = {False: [], True: []}
    plain: dict[bool, list] = {False: [], True: []}
    for k, person in enumerate(people):
        rng = np.random.default_rng((first + 1, k))
        rows = [(v, rng.uniform(0.85, 1.0), rng.uniform(-1, 1, 5)) for v in range(len(names)) for _ in range(per_viseme)]
        values = {name: np.zeros(len(rows), np.float32) for name in FaceMotion.__slots__}
        for r, (v, gain, jitter) in enumerate(rows):
            for name in MOUTH:
                values[name][r] = VISEMES[names[v]][name] * gain
            for name, width, centre in (("yaw", 8, 0), ("pitch", 5, 0), ("roll", 4, 0), ("scale", 0.05, 1), ("light", 0.15, 1)):
                values[name][r] = centre + width * jitter[("yaw", "pitch", "roll", "scale", "light").index(name)]
        motion = FaceMotion(**values)
        points = truth_points(person, motion)
        seen = np.stack([mouth_crop(frame, points[r]) for r, frame in enumerate(render(person, motion, noise_rng=rng))])
        plain[k >= half].extend((row[0], crop) for row, crop in zip(rows, seen, strict=True))
        crops[k >= half].extend((row[0], crop) for row, crop in zip(rows, seen - seen.mean(0), strict=True))
    truth, guess = _nearest_centroid(crops[False], crops[True], len(names))
    raw = _nearest_centroid(plain[False], plain[True], len(names))
    confused: dict[str, int] = {}
    for a, b in zip(truth[guess != truth], guess[guess != truth], strict=True):
        key = f"{names[a]} as {names[b]}"
        confused[key] = confused.get(key, 0) + 1
    worst = dict(sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:6])
    return {"accuracy": float((guess == truth).mean()), "accuracy_without_centring": float((raw[0] == raw[1]).mean()),
            "n": len(truth), "n_visemes": len(names), "confusions": worst,
            "by_viseme": {name: float((guess[truth == v] == v).mean()) for v, name in enumerate(names)}}


def _nearest_centroid(train: list, test: list, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(true, guessed) viseme numbers of the test crops, by the centroids of the training crops."""
    labels, shown = np.array([v for v, _ in train]), np.stack([c for _, c in train])
    centroids = np.stack([shown[labels == v].mean(0) for v in range(n)])
    return np.array([v for v, _ in test]), np.array([((centroids - c) ** 2).sum((1, 2)).argmin() for _, c in test])


def contact_sheet(people: list[Identity], points: bool = False) -> np.ndarray:
    """Identities (rows) by visemes and poses (columns): uint8 RGB."""
    import cv2

    cells = [VISEMES[name] for name in ("sil", "pp", "ff", "th", "ss", "ch", "aa", "eh", "ih", "oh", "ou") if name in VISEMES]
    cells += [{"yaw": -30.0}, {"yaw": 30.0, "open": 0.4, "teeth": 0.5}, {"pitch": -15.0}, {"pitch": 15.0, "blink": 1.0},
              {"roll": 12.0, "brow": 1.0}]
    rows = []
    for person in people:
        row = []
        for cell in cells:
            motion = FaceMotion.still(1, **cell)
            frame = next(render(person, motion)).copy()
            for x, y in truth_points(person, motion)[0] if points else ():
                cv2.circle(frame, (round(float(x)), round(float(y))), 1, (0, 255, 0), -1)
            row.append(frame)
        rows.append(np.hstack(row))
    return np.vstack(rows)


def report(result: dict) -> str:
    """The result as a table of lines."""
    land, gap, vis = result["landmarks"], result["gap"], result["visemes"]
    lines = [f"identities {result['n_identities']} (seeds from {result['first_seed']}), frames of 256 pixels",
             f"landmark error / eye distance in the frame  mean {land['mean']:.4f}  limit {LIMITS['landmark_error']}  "
             f"n {land['n_frames']} frames x {len(POINTS)} points, {land['n_missed']} without a face"]
    lines += [f"  yaw,pitch {pose:>8}  {value:.4f}" for pose, value in land["by_pose"].items()]
    lines += [f"  {name:>20}  {value:.4f}" for name, value in sorted(land["by_group"].items(), key=lambda item: -item[1])]
    worst = sorted(land["by_point"].items(), key=lambda item: -item[1])[:6]
    lines += ["  worst points        " + "  ".join(f"{point} {value:.3f}" for point, value in worst),
              "  worst identity      " + f"{max(land['by_identity']):.4f}",
              f"lip gap correlation  min {gap['min']:.4f}  mean {gap['mean']:.4f}  "
              f"limit {LIMITS['gap_correlation']} for each identity  "
              f"n {gap['n_frames']} frames, {gap['n_missed']} without a face",
              *(f"  {name:>8} {tag:>3}  mean {row['mean']:.4f}  min {row['min']:.4f}  n {len(row['by_speaker'])} speakers, "
                f"{row['n_frames']} frames, {row['n_missed']} without a face"
                for name, rows in result["spoken"].items() for tag, row in rows.items()),
              f"viseme accuracy  {vis['accuracy']:.4f}  limit {LIMITS['viseme_accuracy']}  "
              f"n {vis['n']} mouths of {vis['n_visemes']} visemes",
              f"  without taking each person's mean out  {vis['accuracy_without_centring']:.4f}, no limit",
              "  confusions          " + (", ".join(f"{name} {n}" for name, n in vis["confusions"].items()) or "none"),
              *(f"MISSED: {line}" for line in failures(result))]
    return "\n".join(lines)


def failures(result: dict) -> list[str]:
    """The limits that the result misses, a sentence each. What is NaN misses its limit.

    As drawn, every identity and every speaker of every language counts. As built the corpus is hard on purpose (blur, noise,
    quiet mouths), so those correlations say what landmarks can do there and have no limit; the frames without a face have one.
    """
    land, gap, spoken, least = result["landmarks"], result["gap"], result["spoken"], LIMITS["gap_correlation"]
    shares = {"the poses": land["n_missed"] / land["n_frames"]}
    sequences = {"the speaking identities": gap} | {f"{tag} {name.replace('_', ' ')}": row for name, rows in spoken.items()
                                                    for tag, row in rows.items()}
    shares |= {what: row["n_missed"] / max(1, row["n_missed"] + row["n_frames"]) for what, row in sequences.items()}
    told = result["visemes"]["accuracy"]
    found = [f"{share:.1%} of the frames of {what} are without a face, at most {LIMITS['missed_share']:.0%} wanted"
             for what, share in shares.items() if not share <= LIMITS["missed_share"]]
    if not land["mean"] <= LIMITS["landmark_error"]:
        found.append(f"landmark error {land['mean']:.4f}, at most {LIMITS['landmark_error']} wanted")
    gaps = {"an identity": gap["min"]} | {f"a speaker of {tag}": row["min"] for tag, row in spoken["drawn"].items()}
    found += [f"lip gap correlation {value:.4f} of {whose}, {least} wanted" for whose, value in gaps.items()
              if not value >= least]
    if not told >= LIMITS["viseme_accuracy"]:
        found.append(f"viseme accuracy {told:.4f}, {LIMITS['viseme_accuracy']} wanted")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Prints the table; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=12, help="how many people (default 12)")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED,
                        help=f"of the people and their movements (default {FIRST_SEED})")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet (PNG) here")
    parser.add_argument("--points", action="store_true", help="draw the true points on the sheet")
    chosen = parser.parse_args(arguments)
    first = chosen.first_seed
    people = identities(chosen.identities, first)
    if chosen.sheet:
        import cv2

        cv2.imwrite(str(chosen.sheet), contact_sheet(people[:12], chosen.points)[..., ::-1])
    folder = os.environ.get("BABELFACE_MODELS")
    if not folder or not (Path(folder) / LANDMARKER).is_file():
        print(f"BABELFACE_MODELS must name a folder that holds {FINDER} and {LANDMARKER}", file=sys.stderr)
        return 2
    read = reader(Path(folder))
    result = {"n_identities": len(people), "first_seed": first, "landmarks": landmark_errors(people, read),
              "gap": gap_correlations(people, read, first=first), "spoken": spoken_correlations(read),
              "visemes": viseme_accuracy(people, first=first)}
    print(report(result))
    result["landmarks"].pop("error")
    if chosen.json:
        chosen.json.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(bool(failures(result)))


if __name__ == "__main__":
    raise SystemExit(main())

"""Numbers and findings in words: how a figure is printed, and the sentences at the top of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MINUS = "\u2212"
LSE = ("lse_c", "lse_d")  # beside these stand the size of the offset and the share of clips within one frame
REASON_WORDS = {
    "too_few_speakers": "fewer than six speakers, so no interval",
    "expert_not_valid_here": "the sync expert is not shown to tell real from shuffled sound here, or misses lags put in",
    "is_the_reference": "this is the real video itself",
    "other_words": "the real lips say something else",
    "no_mesh": "no face mesh was found",
    "lengths_differ": "zero padding makes it depend on the clip's length, and lengths differ here",
    "other_length": "the two videos differ in length by more than this metric allows",
    "silent_sound": "the sound is silent",
    "gap_in_picture": "the picture stands still for longer than a sync window in the file",
    "gap_in_sound": "the sound has a hole longer than a sync window",
    "gap_in_track": "the face is lost for too long in between",
    "no_expert": "there is no sync expert",
    "no_reference": "no real video of the same words was given",
    "wrong_view": "this expert looks at another crop than the protocol has",
    "too_few_voiced_frames": "fewer than 25 frames with a voice",
    "constant_series": "the mouth does not move",
    "no_truth": "no rendered truth",
    "no_scores": "no scores",
    "not_scored": "the clips were not scored",
    "no_weights": "the network's weights are not on this machine",
    "too_few": "too few samples",
    "one_sample": "one sample of every input",
    "same_picture": "the pictures are those of its own sound",
    "too_few_clips": "too few clips to tell hearing from guessing",
    "no_lags": "no lags were put in",
    "not_measured": "not measured here",
    "too_few_languages": "fewer than four languages have a gap and a distance",
    "no_spread_of_distances": "all languages lie equally far away",
    "unknown_language": "the language is not in the table",
    "unknown_training": "nobody said what the system was trained on",
    "no_seen_language": "no language that the system trained on was tested",
    "no_unseen_language": "the system trained on every language tested",
    "no_floor": "there is no control to measure against",
    "floor_not_below_real": "the control is as good as real video by this metric, so that nothing can be kept or lost",
    "no_skill_in_seen_languages": "the system is not shown to be better than the control in its own languages",
    "trained_on_the_model": "the system trained on the language that this one is a twin of, but never on a twin",
    "not_defined": "not defined for these figures",
    "one_language": "only one language was tested",
    "no_pairs": "no clip has a value on both sides",
    "no_real_and_shuffled_pairs": "not checked: no real clip with shuffled sound of about its length",
}


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """The value with fixed decimals and a true minus sign; a dash for None."""
    if value is None:
        return "\u2013"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def interval(estimate: dict[str, Any] | None, digits: int = 3) -> str:
    """`[low, high]`, or an empty text where there is no interval."""
    if estimate is None or estimate["low"] is None or estimate["high"] is None:
        return ""
    return f"[{number(estimate['low'], digits)}, {number(estimate['high'], digits)}]"


def counted(n: float, one: str, many: str | None = None) -> str:
    """`1 clip`, `2 clips`; of a median also `2.5 clips`."""
    n = int(n) if n == int(n) else n
    return f"{n:,} {one if n == 1 else many or one + 's'}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    """`83 %`; a dash for None."""
    return "\u2013" if share is None else f"{round(100 * share)}\u202f%".replace("-", MINUS)


def p_text(p: float | None) -> str:
    """A p-value as a paper prints it."""
    if p is None:
        return "\u2013"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def reason_text(reason: str | None) -> str:
    """A reason code in words; unknown codes are shown as they are."""
    return REASON_WORDS.get(reason or "", (reason or "").replace("_", " "))


def sets_reason(row: dict[str, Any]) -> str:
    """Why a figure of a set is null, in words, with what it would have taken."""
    more = f": {row['n']} {row['unit']}, {row['n_needed']} needed" if row["reason"] == "too_few" else ""
    return reason_text(row["reason"]) + more


def listed(names: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def beside(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """What stands beside an LSE, `0.84, 92 %`; a dash where neither is known. cells: metric -> its cell."""
    offset, near = (cells.get(name) for name in ("abs_offset", "offset_within_one"))
    known = offset is not None and near is not None and offset["value"]["mean"] is not None
    return offsets((offset["value"]["mean"], near["value"]["mean"]) if known else None)


def offsets(pair: Sequence[float] | None) -> str:
    """The same of (mean |offset| in frames, share of clips within one frame); a dash for None."""
    return f"{number(pair[0], 2)}, {percent(pair[1])}" if pair else "\u2013"


def offsets_then_now(change: Mapping[str, Any]) -> str:
    """The same of both sides of a change, `0.84, 92 % → 3.10, 20 %`; empty where it is not of an LSE, or neither side has any."""
    pair = [change.get(f"offsets_{side}") for side in "ab"]
    return " \u2192 ".join(map(offsets, pair)) if any(pair) else ""


def measure_text(name: str) -> str:
    """A compared quantity that is no metric of its own, in words."""
    return {"lead": "lead of the true over a shuffled sound"}.get(name, name.replace("_", " "))


def headline_metric(document: dict[str, Any]) -> str:
    """The metric that is shown first: LSE-C where the expert may judge half of the languages, else one without it.

    Without systems to compare, real video is what there is to see, and there only the expert has something to say.
    """
    valid = sum(v["valid"] for v in document["validity"])
    names = [m["name"] for m in document["metrics"]]
    judged = {m["name"]: m["judged"] for m in document["metrics"]}
    made = any(not s["control"] for s in document["systems"])
    trusted = valid * 2 >= max(len(document["validity"]), 1) or (valid and not made)
    order = names if trusted else sorted(names, key=lambda n: judged[n])
    has = (n for n in order if any(c["metric"] == n and c["value"]["mean"] is not None for c in document["cells"]))
    return next(has, names[0] if names else "")

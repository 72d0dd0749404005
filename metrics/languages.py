"""How far languages lie from each other: by their families, and by the sounds that speakers of a corpus make."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from metrics.language_table import TABLE

UNKNOWN = "unknown_language"
NO_TRUTH = "no_truth"
KINDS = ("genealogical", "phonemes", "visemes")
SILENCE = "sil"
# Tags under which one language also goes: macro-languages and their commonest member, and old codes.
ALIASES = {"cmn": "zh", "arb": "ar", "nb": "no", "nn": "no", "iw": "he", "in": "id", "ms": "id", "fil": "tl", "pes": "fa",
           "swh": "sw"}


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the table: BCP-47 tag, English name, and its branches from the family downwards."""

    tag: str
    name: str
    branches: tuple[str, ...]

    @property
    def family(self) -> str:
        return self.branches[0]


@cache
def table() -> dict[str, Language]:
    """Every language known here, by tag."""
    found = {}
    for line in TABLE.splitlines():
        tag, name, branches = (part.strip() for part in line.split("|"))
        found[tag] = Language(tag, name, tuple(b.strip() for b in branches.split("/")))
    return found


def known(tag: str | None) -> Language | None:
    """The language of a BCP-47 tag, by its first subtag (`pt-BR` is Portuguese; `zh-yue` Cantonese); a tag may have its corpus
    before it (`corpus/tr`). None where the table has none, so also for private tags (`x-...`)."""
    parts = (tag or "").rpartition("/")[2].lower().replace("_", "-").split("-")
    first = parts[1] if parts[0] == "zh" and "yue" in parts[1:2] else parts[0]
    return table().get(ALIASES.get(first, first))


def genealogical_distance(a: str, b: str) -> tuple[float | None, str | None]:
    """(distance in [0, 1], None), or (None, unknown_language).

    1 - 2 s / (d_a + d_b): s is the number of nodes that the paths from the family down to each language share, d the nodes of
    each path, the language itself being its last. 0: one language; 1: no common family. The similarity of nodes of a tree of Wu &
    Palmer 1994. Trees are not equally deep in all families, so distances in two families are not on one scale.
    """
    one, two = known(a), known(b)
    if one is None or two is None:
        return None, UNKNOWN
    paths = [(*lang.branches, f"={lang.tag}") for lang in (one, two)]
    shared = 0
    for x, y in zip(*paths, strict=False):
        if x != y:
            break
        shared += 1
    return 1 - 2 * shared / (len(paths[0]) + len(paths[1])), None


def bare(symbol: str) -> str:
    """A phoneme's letters without stress, length, tone and other marks: what two languages may share."""
    kept = [c for c in unicodedata.normalize("NFD", symbol) if unicodedata.category(c) in ("Ll", "Lo")]
    return "".join(kept)


def sound_counts(phonemes: Iterable[Sequence[Mapping[str, Any]] | None]) -> dict[str, dict[str, float]]:
    """{phonemes: {symbol: count}, visemes: {name: seconds}} of recordings' truths, without silence.

    Phonemes are counted; visemes are weighed by how long they last, since that is what a mouth spends its time with.
    """
    counts: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for recording in phonemes:
        for p in recording or ():
            symbol = bare(p["symbol"] or "")
            if symbol:
                counts[symbol] += 1
            if p["viseme"] and p["viseme"] != SILENCE:
                seconds[p["viseme"]] += p["end_s"] - p["start_s"]
    return {"phonemes": dict(sorted(counts.items())), "visemes": dict(sorted(seconds.items()))}


def total_variation(a: Mapping[str, float], b: Mapping[str, float]) -> float | None:
    """Half the summed difference of two frequency tables, each brought to sum 1: 0 where they are equal, 1 where they share
    nothing.

    The overlap is 1 minus it. None where a table is empty.
    """
    sum_a, sum_b = sum(a.values()), sum(b.values())
    if sum_a <= 0 or sum_b <= 0:
        return None
    return sum(abs(a.get(k, 0) / sum_a - b.get(k, 0) / sum_b) for k in sorted({*a, *b})) / 2


def distance(kind: str, a: str, b: str, sounds: Mapping[str, Mapping[str, Mapping[str, float]]]) -> tuple[float | None,
                                                                                                          str | None]:
    """(distance of two languages, None) or (None, reason). kind: one of KINDS. sounds: language -> sound_counts of its corpus."""
    if kind == "genealogical":
        return genealogical_distance(a, b)
    found = total_variation(*(sounds.get(tag, {}).get(kind, {}) for tag in (a, b)))
    return (None, NO_TRUTH) if found is None else (found, None)


def nearest(
    kind: str, tag: str, trained: Sequence[str], sounds: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> tuple[float | None, str | None, str | None]:
    """(distance to the nearest of the languages trained on, that language, None), or (None, None, reason).

    One training language that cannot be placed makes the nearest unknown, unless the tested language is itself among them.
    """
    if not trained:
        return None, None, "unknown_training"
    if tag in trained:
        return 0.0, tag, None
    found = [(distance(kind, tag, other, sounds), other) for other in sorted(trained)]
    missing = [reason for (_, reason), _ in found if reason]
    if missing:
        return None, None, missing[0]
    (value, _), other = min(found, key=lambda f: (f[0][0], f[1]))
    return value, other, None

"""Near-duplicates among many clips, by their fingerprints: candidates from shared keys, linear in the number of clips, then
measured.

The limits lie between copies and other clips as measured on real and on drawn faces (docs/benchmarks.md): small copies of low
quality have at most 6 % wrong bits of sound, other clips at least 42 %. Other real clips move alike by 0.38 at most, drawn heads
by up to 0.74. """

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.prints import SCALE, bit_error, dhash, looks, moves

SOUND_ERROR, SOUND_STEPS = 0.25, 40
"""Most wrong bits of two sounds that are one, and the fewest steps that say so (1 s of sound that is not silent)."""
MOVES_ALIKE, LOOKS_ALIKE, PICTURES = 0.85, 0.2, 8
"""Least correlation of movement, most wrong bits of looks, and the fewest pictures that say so (1.6 s)."""
FLAT = 8.0
"""Grey levels between the darkest and the lightest cell below which a picture (black, a fade) is no key."""
NEAR = 3
"""Clips that share a key are compared with this many next to them: all pairs would be quadratic where many share one."""
MOST = 6
"""Clips that one is compared with by its pictures, those that share most keys."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clips, by index, a < b, that share footage. sound_error: share of wrong bits, None where sound does not say that they
    are one. movement: correlation, None where pictures do not. overlap_s: how much they share at least."""

    a: int
    b: int
    sound_error: float | None
    movement: float | None
    overlap_s: float


def near_duplicates(pictures: Sequence[np.ndarray], sounds: Sequence[np.ndarray]) -> list[Pair]:
    """Pairs of clips that share a stretch of sound or of picture, sorted. pictures, sounds: a print each, see metrics.prints.

    Of many copies of one clip not every pair is listed, but all of them hang together. Finds copies at another size, rate or
    brightness and stretches of each other; by sound also crops and mirror images; by picture also dubs.
    """
    if len(pictures) != len(sounds):
        raise ValueError(f"{len(pictures)} prints of pictures but {len(sounds)} of sound: one of each per clip is needed")
    found: dict[tuple[int, int], dict[str, tuple[float, float]]] = {}
    for a, b, shift in _sound_candidates(sounds):
        error, n = bit_error(sounds[a], sounds[b], shift)
        if error <= SOUND_ERROR and n >= SOUND_STEPS:
            found.setdefault((a, b), {})["sound"] = (error, n * 0.025)
    for a, b in _picture_candidates(pictures):
        alike, shift, n = moves(pictures[a], pictures[b], PICTURES)
        if alike >= MOVES_ALIKE and looks(pictures[a], pictures[b], shift) <= LOOKS_ALIKE:
            found.setdefault((a, b), {})["picture"] = (alike, n * 0.2)
    return [Pair(a, b, _first(said, "sound"), _first(said, "picture"), round(max(s for _, s in said.values()), 3))
            for (a, b), said in sorted(found.items())]


def _first(said: dict[str, tuple[float, float]], name: str) -> float | None:
    return round(said[name][0], 4) if name in said else None


def unite(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """name -> the first name, in their order, of all that hang together with it through pairs; names in no pair are left out."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for a, b in pairs:
        x, y = sorted((root(a), root(b)))
        parent[y] = x
    return {name: root(name) for name in sorted(parent)}


def _sound_candidates(sounds: Sequence[np.ndarray]) -> list[tuple[int, int, int]]:
    """(a, b, shift) of clips that share at least two words at one shift."""
    sizes = [len(s) for s in sounds]
    words = np.concatenate([np.asarray(s, np.uint32) for s in sounds] or [np.zeros(0, np.uint32)])
    clip = np.repeat(np.arange(len(sounds), dtype=np.int32), sizes)
    at = np.concatenate([np.arange(n, dtype=np.int32) for n in sizes] or [np.zeros(0, np.int32)])
    loud = words > 0
    words, clip, at = words[loud], clip[loud], at[loud]
    order = np.argsort(words, kind="stable")
    words, clip, at = words[order], clip[order], at[order]
    fresh = np.ones(len(words), bool)  # a word once per clip: a held vowel repeats it
    fresh[1:] = (words[1:] != words[:-1]) | (clip[1:] != clip[:-1])
    words, clip, at = words[fresh], clip[fresh], at[fresh]
    a, b, shift = [], [], []
    for d in range(1, NEAR + 1):
        hit = np.flatnonzero(words[d:] == words[:-d])
        a.append(clip[hit])
        b.append(clip[hit + d])
        shift.append(at[hit] - at[hit + d])
    a, b, shift = (np.concatenate(x) for x in (a, b, shift))
    if not len(a):
        return []
    reach = max(sizes) + 1
    pair = (a.astype(np.int64) * len(sounds) + b) * (2 * reach) + (shift + reach)
    keys, votes = np.unique(pair, return_counts=True)
    keys, votes = keys[votes >= 2], votes[votes >= 2]
    which, shift = keys // (2 * reach), keys % (2 * reach) - reach
    best: dict[int, tuple[int, int]] = {}
    for k, s, v in zip(which.tolist(), shift.tolist(), votes.tolist(), strict=True):
        if v > best.get(k, (0, 0))[0]:
            best[k] = (v, s)
    return [(k // len(sounds), k % len(sounds), s) for k, (_, s) in sorted(best.items())]


def _picture_candidates(pictures: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of clips that share difference hashes but for 16 of the 64 bits, at most MOST per clip."""
    hashes, clip = [], []
    for i, strip in enumerate(pictures):
        if len(strip) >= PICTURES:
            flat = strip.reshape(len(strip), -1)
            seen = np.unique(dhash(strip[flat.max(1).astype(np.int32) - flat.min(1) > FLAT * SCALE]))
            hashes.append(seen)
            clip.append(np.full(len(seen), i, np.int32))
    if not hashes:
        return []
    bits, clip = np.concatenate(hashes), np.concatenate(clip)
    found = []
    for quarter in range(4):
        keys = bits & ~np.uint64(0xFFFF << (16 * quarter))
        order = np.lexsort((clip, keys))
        k, c = keys[order], clip[order]
        fresh = np.ones(len(k), bool)
        fresh[1:] = (k[1:] != k[:-1]) | (c[1:] != c[:-1])
        k, c = k[fresh], c[fresh]
        for d in range(1, NEAR + 1):
            hit = np.flatnonzero(k[d:] == k[:-d])
            found.append(c[hit].astype(np.int64) * len(pictures) + c[hit + d])
    pairs, votes = np.unique(np.concatenate(found), return_counts=True)
    a, b = pairs // len(pictures), pairs % len(pictures)
    order = np.lexsort((b, -votes, a))  # the strongest first, of every a
    a, b = a[order], b[order]
    starts = np.flatnonzero(np.r_[True, a[1:] != a[:-1]]) if len(a) else np.zeros(0, int)
    rank = np.arange(len(a)) - np.repeat(starts, np.diff(np.r_[starts, len(a)]))
    return sorted(zip(a[rank < MOST].tolist(), b[rank < MOST].tolist(), strict=True))

"""Near-duplicates among many: copies found however many there are, others left alone, at a cost that grows with their number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import metrics.duplicates as duplicates
from metrics.duplicates import near_duplicates, unite


def made(n: int, copies: int, seed: int = 0):
    """Prints of n clips of 25 pictures and 200 words, the last `copies` of which are stretches of the first, a little worse."""
    rng = np.random.default_rng(seed)
    sounds = [rng.integers(0, 2**32, 200, dtype=np.uint32) | np.uint32(1) for _ in range(n)]
    pictures = [np.clip(rng.normal(8000, 1500, (8, 9)) + np.cumsum(rng.normal(0, 64, (25, 8, 9)), 0), 0, 16000).astype(np.uint16)
                for _ in range(n)]
    for i in range(copies):
        wrong = (np.uint32(2) << rng.integers(0, 31, 160).astype(np.uint32)) * (rng.random(160) < 0.8).astype(np.uint32)
        sounds[n - 1 - i] = sounds[i][40:] ^ wrong
        pictures[n - 1 - i] = np.clip(pictures[i][5:] + rng.normal(0, 20, (20, 8, 9)), 0, 16000).astype(np.uint16)
    return pictures, sounds


def test_copies_are_found_and_nothing_else():
    pictures, sounds = made(1500, 15)
    found = near_duplicates(pictures, sounds)
    assert [(p.a, p.b) for p in found] == [(i, 1499 - i) for i in range(15)]
    assert all(p.sound_error < 0.05 and p.movement > 0.95 and p.overlap_s == pytest.approx(4.0, abs=0.1) for p in found)


def test_sound_alone_and_picture_alone():
    pictures, sounds = made(40, 2)
    nothing = np.zeros((0, 8, 9), np.uint16)
    silent = [np.zeros(0, np.uint32)] * 40
    assert [(p.a, p.b, p.movement) for p in near_duplicates([nothing] * 40, sounds)] == [(0, 39, None), (1, 38, None)]
    assert [(p.a, p.b, p.sound_error) for p in near_duplicates(pictures, silent)] == [(0, 39, None), (1, 38, None)]
    assert near_duplicates([nothing] * 40, silent) == near_duplicates([], []) == []


def test_many_copies_of_one_hang_together():
    pictures, sounds = made(60, 0)
    for k in range(20, 60):
        pictures[k], sounds[k] = pictures[3], sounds[3]
    group = unite([(str(p.a), str(p.b)) for p in near_duplicates(pictures, sounds)])
    assert set(group) == {"3", *map(str, range(20, 60))} and len(set(group.values())) == 1


def test_candidates_grow_with_the_clips_not_with_their_square(monkeypatch):
    """All in one studio: the same wall behind everybody, so that all share keys."""
    rng = np.random.default_rng(5)
    wall = rng.normal(8000, 1500, (8, 9))
    counts = []
    for n in (60, 240):
        pictures = [np.clip(wall + np.cumsum(rng.normal(0, 64, (25, 8, 9)), 0), 0, 16000).astype(np.uint16) for _ in range(n)]
        counts.append(len(duplicates._picture_candidates(pictures)))
        assert near_duplicates(pictures, [np.zeros(0, np.uint32)] * n) == []
    assert counts[1] <= duplicates.MOST * 240 and counts[1] < 6 * counts[0]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh")), max_size=12))
def test_united_is_an_equivalence(pairs):
    group = unite(pairs)
    assert set(group) == {name for pair in pairs for name in pair}
    assert all(group[a] == group[b] for a, b in pairs)
    assert all(group[root] == root and root == min(n for n in group if group[n] == root) for root in group.values())


def test_the_benchmark_sees_what_is_missed(monkeypatch, capsys):
    import bench.duplicates as bench

    assert bench.scale(300) and "3 found, 0 pairs that are none" in capsys.readouterr().out
    monkeypatch.setattr(duplicates, "SOUND_ERROR", 0.0)
    monkeypatch.setattr(duplicates, "MOVES_ALIKE", 1.01)
    assert not bench.scale(300) and "0 found" in capsys.readouterr().out


def test_prints_come_in_twos():
    with pytest.raises(ValueError, match="1 prints of pictures but 0 of sound"):
        near_duplicates([np.zeros((0, 8, 9), np.uint16)], [])

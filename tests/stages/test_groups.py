"""What shares footage is dealt as one: by file, by video, by near-duplicate; and a link that is torn is seen."""

from __future__ import annotations

import json
import shutil
from itertools import combinations

import numpy as np
import pytest

from core import media, shards
from core.records import columns
from core.shards import pack, shard_path, write_table
from metrics.prints import picture_print, sound_print, thumb
from stages.groups import groups, links, place, summary
from stages.split import deal
from tests.flows.small_dataset import person
from tests.stages.sync_clips import inside
from tests.stages.test_split import params_for, row

FAR = "dQw4w9WgXcQ"


def lay_out(folder, rows, recordings=(), prints=None):
    """data/ of download and segment for some tracks. recordings: {recording: {sha256, video}}; prints: recording -> (picture,
    sound)."""
    recordings, prints = dict(recordings), prints or {}
    for tag in ("en", "fi", "ru", "tr", "zh"):
        mine = {r["recording_id"]: r for r in rows if r["language"] == tag}
        made = [{"recording_id": name, "corpus": "toy", "language": tag, "sha256": said.get("sha256", name),
                 "extra": json.dumps({"video": said["video"]} if "video" in said else {})}
                for name, r in mine.items() for said in [recordings.get(name, {})]]
        write_table(shard_path(folder / "data" / "download" / f"toy-{tag}", "recordings", 0), made, "recordings")
        clips = []
        for name, r in mine.items():
            picture, sound = prints.get(name, (np.zeros((0, 8, 9), np.uint16), np.zeros(0, np.uint32)))
            clips.append({"clip_id": r["clip_id"], "recording_id": name, "picture_print": pack(picture),
                          "sound_print": pack(sound)})
        write_table(shard_path(folder / "data" / "segment" / f"toy-{tag}", "clips", 0), clips, "clips")


def found_in(folder, rows, params=None, **kwargs):
    import contextlib

    params = params or params_for()
    lay_out(folder, rows, **kwargs)
    with contextlib.chdir(folder):
        return links(rows, params)


def test_one_video_of_two_speakers_and_one_file_under_two_names(tmp_path):
    rows = [row("en", f"en-s{k}", f"r{k}") for k in range(6)] + [row("fi", f"fi-s{k}", f"r{k}") for k in range(4)]
    said = {"en-r0": {"video": FAR}, "en-r4": {"video": FAR}, "fi-r2": {"video": FAR},
            # a page's id means the same in every language
            "en-r1": {"video": "part-1"}, "en-r2": {"video": "part-1"},
            "en-r3": {"sha256": "ab" * 32}, "fi-r3": {"sha256": "ab" * 32}}
    found = found_in(tmp_path, rows, recordings=said)
    assert {(x["kind"], x["cluster_a"], x["cluster_b"]) for x in found} == {
        ("video", "speaker:en-s0", "speaker:en-s4"), ("video", "speaker:en-s0", "speaker:fi-s2"),
        ("video", "speaker:en-s1", "speaker:en-s2"),
        ("file", "speaker:en-s3", "speaker:fi-s3")}
    assert all(set(x) == set(columns("links")) - {"split_a", "split_b"} for x in found)
    group_of = groups(found)
    assert len(set(group_of.values())) == 3 and len(group_of) == 7
    torn = 0
    for seed in range(6):
        params = params_for(seed=seed)
        alone, together = (place(found, deal(rows, set(), params, g)) for g in (None, group_of))
        torn += len(summary(alone, group_of)["torn"])
        assert summary(together, group_of)["torn"] == []
        assert all(x["split_a"] == x["split_b"] is not None for x in together)
    assert torn > 3, "dealt one by one they are torn apart, and that is seen"


def test_nothing_shared_changes_nothing(tmp_path):
    rows = [row("en", f"en-s{k}", f"r{k}") for k in range(9)] + [row("fi", None, "r1"), row("fi", None, "r2")]
    assert found_in(tmp_path, rows) == [] and groups([]) == {}
    assert deal(rows, set(), params_for(), {}) == deal(rows, set(), params_for())


def test_a_copy_is_found_across_languages_and_generated_video_is_left_out(tmp_path):
    seen = {}
    for k in range(4):
        frames, samples = person(k)
        seen[k] = (picture_print([thumb(f) for f in frames]), sound_print(samples))
    frames, samples = person(0)
    copy = (picture_print([thumb(f[::2, ::2]) for f in frames[7:]]), sound_print(samples[7 * 640:]))
    rows = [row("en", f"en-s{k}", f"r{k}") for k in range(4)] + [row("fi", None, "copy"),
                                                                 row("fi", "x", "made", kind="generated")]
    prints = {f"en-r{k}": seen[k] for k in seen} | {"fi-copy": copy, "fi-made": seen[1]}
    found = found_in(tmp_path, rows, prints=prints)
    (x,) = found
    assert (x["kind"], x["a"], x["b"], x["language_a"], x["language_b"]) == ("both", "en-r0-c0", "fi-copy-c0", "en", "fi")
    assert groups(found) == {"recording:fi-copy": "recording:fi-copy", "speaker:en-s0": "recording:fi-copy"}
    params = params_for()
    off = params.model_copy(update={"split": params.split.model_copy(update={"near_duplicates": False})})
    assert found_in(tmp_path, rows, off, prints=prints) == []


def test_the_stage_keeps_what_it_found(small):
    folder = small / "data/split/all"
    (x,) = shards.read_rows(folder, "links")
    assert {x["recording_id_a"], x["recording_id_b"]} == {"a1", "copy"} and x["split_a"] == x["split_b"] is not None
    assert x["sound_error"] < 0.2 and x["movement"] > 0.9 and x["overlap_s"] > 2
    check = json.loads((folder / "leakage.json").read_text())
    assert check["shared"] == {"links": {"both": 1}, "united": 2, "largest_group": 2, "torn": []} and check["leaks"] == []


def test_the_stage_stops_where_a_link_is_torn(small, monkeypatch, tmp_path):
    import stages.split
    from core.stage import UserError

    copy = tmp_path / "copy"
    shutil.copytree(small, copy, symlinks=True, ignore=shutil.ignore_patterns("media", "crop"))

    def careless(rows, planted, params, group_of=None):
        made = deal(rows, planted, params)
        return [r | {"split": "train" if r["recording_id"] == "copy" else "test"} for r in made]

    monkeypatch.setattr(stages.split, "deal", careless)
    with inside(copy) as params, pytest.raises(UserError, match="near-duplicates stand in two splits.*a1-c0 and copy-c0"):
        stages.split.main("all", params)


# the real clips that are of one footage (shared/real/index.csv): one file twice, and three films with their published dubs
TAKES = [{"syncnet_example.avi", "syncnet_offset_0.avi"}, {"av2av_1.webm", "av2av_1_en-es.webm", "av2av_9_cascaded.webm"},
         {"av2av_7.webm", "av2av_7_it-en.webm"}]
# other clips of one speaker or before one wall
OTHERS = ["grid_bbaf2n.mpg", "grid_brbk7n.mpg", "grid_lbax4n.mpg", "grid_lbbc2a.mpg", "grid_id2_swwp2s.mpg", "vox_00010.mp4",
          "vox_00373.mp4"]


@pytest.mark.slow
def test_real_copies_and_dubs_are_found_and_other_clips_of_one_speaker_are_not(shared):
    from metrics.duplicates import near_duplicates

    names = [*sorted({n for take in TAKES for n in take}), *OTHERS]
    pictures, sounds = [], []
    for name in names:
        path = shared / "real" / "clips" / name
        pictures.append(picture_print([thumb(f) for f, _ in media.read_small_frames(path, 128)]))
        sounds.append(sound_print(media.read_audio(path)))
    found = {(names[p.a], names[p.b]) for p in near_duplicates(pictures, sounds)}
    assert found == {pair for take in TAKES for pair in combinations(sorted(take), 2)}

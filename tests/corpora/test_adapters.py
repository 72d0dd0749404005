"""Every adapter on a small corpus made by hand in its documented layout: what becomes an item, what a reject, and that both add
up."""

from __future__ import annotations

import json
from collections import Counter

import langcodes
import pytest

from core.records import SAFE_ID, Box, Item, Reject, Rejected, Source
from corpora import registry


class Corpus:
    """An adapter on files written below tmp_path."""

    def __init__(self, name, root, files, path="", **options):
        for file, content in files.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_bytes(content if isinstance(content, bytes) else str(content).encode())
        self.module = registry.open_corpus(name)
        self.config = {"adapter": name, "name": name, "path": str(root / path), "options": options}
        self.all = list(registry.entries(self.module, self.config))
        self.items = {e.id: e for e in self.all if isinstance(e, Item)}
        self.rejects = {e.id: e for e in self.all if isinstance(e, Rejected)}
        # By language everything comes again, once.
        parts = [registry.items(self.module, self.config, tag) for tag in registry.languages(self.module, self.config)]
        assert sorted(e.id for found in parts for e in (*found[0], *found[1])) == sorted(e.id for e in self.all)
        assert len({e.id for e in self.all}) == len(self.all) and all(SAFE_ID.fullmatch(e.id) for e in self.all)

    @property
    def reasons(self):
        return Counter(e.reason for e in self.rejects.values())


@pytest.fixture
def corpus(tmp_path):
    return lambda name, files, path="", **options: Corpus(name, tmp_path, files, path, **options)


@pytest.mark.parametrize("name", registry.adapters())
def test_cards_say_what_a_person_must_know(name):
    card = registry.open_corpus(name).CARD
    assert card.name == name and card.title and card.provenance and card.citation and card.access
    assert card.licence and card.terms and card.consent
    assert all(langcodes.tag_is_valid(tag) or tag.startswith("x-") for tag in card.languages)
    assert name == "synthetic" or card.index
    assert card.hours is None or card.hours > 0
    assert card.hours or card.hours_note or name in ("synthetic", "folder", "csv"), "a corpus that was published says why not"


def test_the_corpora_that_were_promised_are_there():
    assert set(registry.adapters()) >= {
        "multitalk", "hdtf", "talkvid", "avspeech", "celebv_hq", "voxceleb2", "muavic", "lrs2", "lrs3", "lrw", "lrw1000", "grid",
        "crema_d",
        "ravdess", "mead", "vocaset", "biwi", "csv", "folder", "synthetic"}


def test_talkvid(corpus):
    clip = {"id": "videovideoabcdefghijk-scene1", "height": 1080, "width": 1920, "fps": 24.0, "start-time": 0.5, "end-time": 5.5,
            "dover_scores": 8.9,
            "info": {"Person ID": "597", "Gender": "Male", "Video Link": "https://www.youtube.com/watch?v=abcdefghijk",
                     "Language": "Polish"},
            "head_detail": {"scores": {"avg_movement": 97.9}}}
    other = {**clip, "id": "b", "info": {**clip["info"], "Language": "Other", "Person ID": ""}}
    bad = [{**clip, "id": "c", "end-time": 0.5}, {**clip, "id": "d", "info": {**clip["info"], "Video Link": "gone"}},
           {**clip, "id": "e", "info": None},
           {**clip, "id": ""}, clip, 7, {**clip, "id": "f", "info": {**clip["info"], "Language": "Klingonish"}},
           {**clip, "id": "g", "info": []}]
    found = corpus("talkvid", {"clips.json": json.dumps([clip, other, *bad])}, "clips.json")
    first, second = found.items["videovideoabcdefghijk-scene1"], found.items["b"]
    assert (first.language, first.speaker, first.video, first.length_s) == ("pl", "597", "abcdefghijk", 5)
    assert first.source == Source("page", "https://www.youtube.com/watch?v=abcdefghijk", 0.5, 5.5)
    assert first.extra == {"Gender": "Male", "dover_scores": 8.9, "fps": 24.0, "head": {"avg_movement": 97.9}, "height": 1080,
                           "width": 1920}
    assert (second.language, second.speaker) == ("und", None)
    assert found.reasons == {"bad_time": 1, "bad_url": 1, "bad_row": 4, "duplicate": 1, "bad_language": 1}
    lines = corpus("talkvid", {"clips.jsonl": json.dumps(clip) + "\nno\n"}, "clips.jsonl")
    assert len(lines.items) == 1 and "line 2" in next(iter(lines.rejects.values())).detail


def test_avspeech(corpus):
    rows = ["abcdefghijk,1.5,5.25,0.4,0.6", "abcdefghijk,1.5,5.25,0.4,0.6", "-bcdefghij_,90.0,93.0,0.5,0.5", "short,1,2,0,0",
            "abcdefghijk,5,2,0.4,0.6",
            "abcdefghijk,1,2,1.4,0.6", "abcdefghijk,1,2", "../../etc/xx,1,2,0,0"]
    found = corpus("avspeech", {"t.csv": "\n".join(rows)}, "t.csv")
    item = found.items["abcdefghijk_1.5_5.25"]
    assert (item.source, item.language) == (Source("page", "https://www.youtube.com/watch?v=abcdefghijk", 1.5, 5.25), "und")
    assert item.extra == {"face_x": 0.4, "face_y": 0.6} and len(found.items) == 2
    assert found.reasons == {"duplicate": 1, "bad_url": 2, "bad_time": 1, "bad_box": 1, "bad_row": 1}
    assert {e.language for e in corpus("avspeech", {}, "t.csv", language="ko").all} == {"ko"}


def test_celebv_hq(corpus):
    clip = {"ytb_id": "M2Ohb0FAaJU", "duration": {"start_sec": 81.62, "end_sec": 86.17},
            "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
            "attributes": {"appearance": [0, 1], "emotion": {"sep_flag": False, "labels": "neutral"}}, "version": "v0.1"}
    clips = {"M2Ohb0FAaJU_1": clip, "b": {**clip, "bbox": {"top": 0}}, "c": {**clip, "duration": None},
             "d": {**clip, "bbox": {**clip["bbox"], "right": 1.5}}}
    found = corpus("celebv_hq", {"i.json": json.dumps({"meta_info": {"clips": 1, "action_mapping": ["blow"]}, "clips": clips})},
                   "i.json")
    (item,) = found.items.values()
    assert (item.id, item.video, item.box) == ("M2Ohb0FAaJU_1", "M2Ohb0FAaJU", Box(0.1964, 0.0, 0.6922, 0.8815))
    assert item.extra["attributes"]["emotion"]["labels"] == "neutral" and found.reasons == {"bad_row": 2, "bad_box": 1}


def test_voxceleb2(corpus):
    files = {"dev/mp4/id00012/21Uxsk56VDQ/00001.mp4": 1, "dev/mp4/id00012/21Uxsk56VDQ/00002.mp4": 2,
             "test/mp4/id00017/-EwKqT-Wk8U/00007.mp4": 3,
             "dev/mp4/unknown/00001.mp4": 4, "dev/aac/id00012/21Uxsk56VDQ/00001.m4a": 5,
             "vox2_meta.csv": "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \nid00012 ,n000002 ,f ,dev \n"}
    found = corpus("voxceleb2", files)
    item = found.items["id00012_21Uxsk56VDQ_00001"]
    assert (item.speaker, item.video, item.source.at) == ("id00012", "21Uxsk56VDQ", "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4")
    assert item.extra == {"clip": "00001", "gender": "f", "split": "dev"} and len(found.items) == 3
    (reject,) = found.rejects.values()
    assert reject.reason == "bad_name" and reject.detail.startswith("dev/mp4/unknown/00001.mp4: ")


def test_muavic_reads_mtedx(corpus):
    base = "mtedx/es-es/data/train/txt/"
    files = {base + "segments": "abcdefghijk_0001 abcdefghijk 1.50 4.00\nabcdefghijk_0002 abcdefghijk 4.00 3.00\nbroken\nb_1 "
                                "tooshort 0 1\n",
             base + "train.es": "hola\nadiós\n?\nb\nde más\n",
             "mtedx/el-el/data/test/txt/segments": "ABCDEFGHIJK_0001 ABCDEFGHIJK 0 2.5\n",
             "mtedx/es-en/data/train/txt/segments": "abcdefghijk_0001 abcdefghijk 1.50 4.00\n"}
    found = corpus("muavic", files)
    item = found.items["es_abcdefghijk_0001"]
    assert (item.language, item.speaker, item.length_s) == ("es", "abcdefghijk", 2.5)
    assert item.extra == {"split": "train", "transcript": "hola"} and set(found.items) == {"es_abcdefghijk_0001",
                                                                                           "el_ABCDEFGHIJK_0001"}
    assert found.reasons == {"bad_time": 1, "bad_row": 1, "bad_url": 1, "no_match": 1}


def test_lrs3(corpus):
    head = "Text:  HELLO: THERE\nConf:  4\nRef:  0Fi83BHQsMA\n\nFRAME X Y W H\n000000 0.4 0.1 0.2 0.3\n"
    files = {"lrs3/trainval/0Fi83BHQsMA/00002.mp4": 1, "lrs3/trainval/0Fi83BHQsMA/00002.txt": head,
             "lrs3/test/-xyz/00001.mp4": 1, "lrs3/other/a/00001.mp4": 1}
    found = corpus("lrs3", files)
    item = found.items["trainval_0Fi83BHQsMA_00002"]
    assert (item.language, item.speaker, item.video) == ("en", "0Fi83BHQsMA", "0Fi83BHQsMA")
    assert item.extra == {"reference": "0Fi83BHQsMA", "split": "trainval", "transcript": "HELLO: THERE"}
    assert len(found.items) == 2 and found.reasons == {"bad_name": 1}


def test_lrs2(corpus):
    files = {"mvlrs_v1/main/5535/00001.mp4": 1, "mvlrs_v1/main/5535/00001.txt": "Text:  WHEN YOU'RE\nConf:  4\n",
             "mvlrs_v1/main/5536/00009.mp4": 1,
             "mvlrs_v1/pretrain/5535/00001.mp4": 1, "train.txt": "5535/00001\n5537/00001\n../../etc/passwd\n",
             "test.txt": "5536/00009 NF\n", "val.txt": "5535/00001\n"}
    found = corpus("lrs2", files, "mvlrs_v1")
    assert {i: e.extra.get("split") for i, e in found.items.items()} == {"main_5535_00001": "train", "main_5536_00009": "test",
                                                                         "pretrain_5535_00001": None}
    assert found.items["main_5535_00001"].extra["transcript"] == "WHEN YOU'RE"
    assert found.reasons == {"missing_file": 2, "duplicate": 1}
    assert all(r.detail.startswith("val.txt line 1" if r.reason == "duplicate" else "train.txt line")
               for r in found.rejects.values())


def test_lrw(corpus):
    files = {"lipread_mp4/ABOUT/train/ABOUT_00001.mp4": 1,
             "lipread_mp4/ABOUT/train/ABOUT_00001.txt": "Disk reference: 552\nDuration: 0.27 seconds\n",
             "lipread_mp4/ABOUT/ABOUT_1.mp4": 1}
    found = corpus("lrw", files)
    item = found.items["train_ABOUT_00001"]
    assert (item.length_s, item.extra) == (1.16, {"duration": "0.27 seconds", "reference": "552", "split": "train",
                                                  "transcript": "ABOUT"})
    assert found.reasons == {"bad_name": 1}


def test_lrw1000_has_no_video(corpus, tmp_path):
    found = corpus("lrw1000", {"info/trn_1000.txt": "f0a,你好,ni hao,0.3,0.8\n/etc,好,hao,0,1\nx,y\n",
                               "info/tst_1000.txt": "f0b,好,hao,1.2,1.1\n"})
    item = found.items["f0a_0.3_0.8"]
    assert (item.language, item.extra) == ("zh", {"pinyin": "ni hao", "split": "trn", "transcript": "你好"})
    assert found.reasons == {"bad_name": 1, "bad_row": 1, "bad_time": 1}
    with pytest.raises(Reject, match="no_video"):
        found.module.fetch(item, found.config, tmp_path)


def test_grid(corpus):
    files = {"s1/video/mpg_6000/bbaf2n.mpg": 1, "s1/video/mpg_6000/xbaf2n.mpg": 1, "s2/sgiczp.mp4": 1,
             "s1/align/bbaf2n.align": 1, "readme.mpg": 1}
    found = corpus("grid", files)
    assert {e.speaker: e.extra["transcript"] for e in found.items.values()} == {"s1": "bin blue at f two now",
                                                                                "s2": "set green in c zero please"}
    assert found.reasons == {"bad_name": 2}


def test_crema_d(corpus):
    files = {"VideoFlash/1001_DFA_ANG_XX.flv": 1, "VideoFlash/1002_QQQ_SAD_LO.flv": 1, "VideoFlash/1002_IEO_SAD_LOUD.flv": 1,
             "VideoDemographics.csv": "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,Not Hispanic\n",
             "AudioWAV/1001_DFA_ANG_XX.wav": 1}
    found = corpus("crema_d", files)
    assert found.items["1001_DFA_ANG_XX"].extra == {"age": "51", "emotion": "ANG", "gender": "Male", "level": "XX",
                                                    "transcript": "Don't forget a jacket"}
    assert len(found.items) == 1 and found.reasons == {"bad_name": 2}


def test_ravdess(corpus):
    files = {f"Actor_12/{name}.mp4": 1 for name in ("01-01-06-01-02-01-12", "02-01-06-01-02-01-12", "01-02-03-02-01-02-12",
                                                    "01-01-06-01-02-01-99", "x")}
    found = corpus("ravdess", files)
    item = found.items["01-01-06-01-02-01-12"]
    assert item.speaker == "actor-12" and item.extra == {"channel": "speech", "emotion": "fearful", "gender": "female",
                                                         "intensity": "normal",
                                                         "repetition": 1, "transcript": "Dogs are sitting by the door"}
    assert found.items["01-02-03-02-01-02-12"].extra["channel"] == "song"
    assert found.reasons == {"no_audio": 1, "bad_name": 2}


def test_mead(corpus):
    files = {f"M003/video/{view}/angry/level_1/001.mp4": 1 for view in ("front",
                                                                        "left_30")} | {"W009/video/front/sad/level_3/021.mp4": 1,
                                                                                       "M003/x.mp4": 1}
    found = corpus("mead", files)
    assert set(found.items) == {"M003_front_angry_level_1_001", "W009_front_sad_level_3_021"} and found.reasons == {"bad_name": 1}
    both = corpus("mead", {}, views=["front", "left_30"]).items.values()
    assert len(both) == 3 and len({e.video for e in both}) == 2
    with pytest.raises(ValueError, match=r"options\.views is \['behind'\]"):
        corpus("mead", {}, views=["behind"])


def test_vocaset_and_biwi_name_what_they_lack(tmp_path):
    voca = Corpus("vocaset", tmp_path / "v", {"audio/FaceTalk_170725_00137_TA/sentence01.wav": 1,
                                              "wav/FaceTalk_170809_00138_TA_sentence02.wav": 1, "x.wav": 1})
    assert {e.speaker for e in voca.items.values()} == {"FaceTalk_170725_00137_TA",
                                                        "FaceTalk_170809_00138_TA"} and voca.reasons == {"bad_name": 1}
    with pytest.raises(Reject, match="no_video"):
        voca.module.fetch(next(iter(voca.items.values())), voca.config, tmp_path)
    biwi = Corpus("biwi", tmp_path / "b", {"videos/F1_e01.flv": 1, "wav/F1_e01.wav": 1, "wav/M2_02.wav": 1,
                                           "videos/F1/03.flv": 1})
    assert {i: e.kind for i, e in biwi.items.items()} == {"F1_e01": "generated",
                                                          "F1_03": "generated"} and biwi.reasons == {"no_video": 1}


LAYOUTS = ("voxceleb2", "lrs2", "lrs3", "lrw", "grid", "crema_d", "ravdess", "mead", "vocaset", "biwi")


@pytest.mark.parametrize("name", LAYOUTS)
def test_links_out_of_a_corpus_and_odd_names_are_rejected(name, tmp_path):
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "a.mp4").write_bytes(b"secret")
    inside = tmp_path / "corpus"
    inside.mkdir()
    suffix = "wav" if name == "vocaset" else "mp4"
    (inside / f"link.{suffix}").symlink_to(outside / "a.mp4")
    (inside / "folder").symlink_to(outside)
    (inside / f"b\n\\.{suffix}").write_bytes(b"x")
    found = Corpus(name, inside, {})
    assert not found.items and found.reasons == {"bad_name": 2}


@pytest.mark.parametrize("name", [n for n in registry.adapters() if n != "synthetic"])
def test_an_index_that_is_not_there_and_an_option_that_is_none_are_named(name, tmp_path):
    module = registry.open_corpus(name)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        registry.languages(module, {"path": str(tmp_path / "nowhere"), "options": {}})
    with pytest.raises(ValueError, match="unknown option 'langauge'; did you mean 'language'"):
        registry.languages(module, {"path": str(tmp_path), "options": {"langauge": "en"}})

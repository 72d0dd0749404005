"""The report stage: the folder it writes, its bytes, and its videos."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import pytest

from core.media import probe, read_audio, read_frames
from core.params import load_params
from core.shards import read_json
from core.stage import UserError
from stages import aggregate, report
from tests.report.fabricate import N_FRAMES, fabricate


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("project"), speakers=2, clips=1)


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    if not Path("data/aggregate").exists():
        aggregate.main("all", load_params())
    if not Path("results/report").exists():
        report.main("all", load_params())
    return project


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_folder_holds_all_it_names_and_names_nothing_outside(here):
    files = files_of(here / "results/report")
    page = files["index.html"].decode()
    named = set(re.findall(r'(?:src|href|poster)="([^"#]+)"', page)) - {"data:,"}
    assert named == set(files) - {"index.html"}
    assert not re.search(
        r"https?://|//cdn|@import", page + files["static/report.css"].decode() + files["static/report.js"].decode()
    )
    assert str(here) not in page


def test_every_link_inside_the_page_leads_somewhere(here):
    page = Path("results/report/index.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_markdown_and_tables_lie_beside_the_page(here):
    files = files_of(here / "results/report")
    assert {"report.md", "tables/gap.csv", "tables/robustness.csv", "tables/slopes.csv", "tables/visemes.csv"} <= set(files)
    assert files["report.md"].decode().startswith("# Talking faces") and str(here) not in files["report.md"].decode()


def test_two_renders_give_the_same_bytes(here):
    first = files_of(here / "results/report")
    report.main("all", load_params())
    assert files_of(here / "results/report") == first
    assert not list((here / "results").glob(".report*")), "nothing is left beside it"


def test_gallery_videos_are_small_h264_with_the_sound_of_their_row(here):
    document = read_json(Path("data/aggregate/all/report.json"))
    media = sorted(Path("results/report/media").glob("*.mp4"))
    assert len(media) == sum(len(c["videos"]) for c in document["gallery"]) == 5 * 6
    for path in media[:6]:
        info = probe(path)
        assert len(list(read_frames(path))) == N_FRAMES and max(info.width, info.height) <= 256
        sound = read_audio(path)
        assert abs(len(sound) - N_FRAMES * 640) <= 1024 and np.abs(sound.astype(int)).max() > 1000
        with av.open(str(path)) as file:  # what every browser plays
            video, audio = file.streams.video[0].codec_context, file.streams.audio[0].codec_context
            assert (video.name, video.pix_fmt, audio.name, audio.profile) == ("h264", "yuv420p", "aac", "LC")
            assert video.profile in ("Main", "High")
        raw = path.read_bytes()
        assert 0 < raw.find(b"moov") < raw.find(b"mdat"), "the index comes first"
        assert path.with_suffix(".jpg").read_bytes()[:2] == b"\xff\xd8"


def test_a_generated_video_is_shown_bit_by_bit(here):
    document, params = read_json(Path("data/aggregate/all/report.json")), load_params()
    shelf = report.Shelf(document["gallery"], params)
    films = {v["generated_id"]: shelf.film(v) for clip in document["gallery"] for v in clip["videos"]}
    made = {name for name, film in films.items() if film is not None}
    assert made and {name for name in films if ".real." in name}.isdisjoint(made)
    shown = {path.read_bytes() for path in Path("results/report/media").glob("*.mp4")}
    assert shown.issuperset(films[name] for name in made)
    longer = next(v for clip in document["gallery"] for v in clip["videos"] if v["generated_id"] in made)
    assert shelf.film(longer | {"n_frames": longer["n_frames"] - 1}) is None, "a row that shows a part is cut"


def test_large_frames_are_made_small_with_even_sides():
    assert report.shrink(np.zeros((1080, 1918, 3), np.uint8)).shape == (144, 256, 3)
    small = np.zeros((64, 48, 3), np.uint8)
    assert report.shrink(small) is small


def test_controls_alone_make_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(fabricate(tmp_path, speakers=2, clips=1, systems=False))
    aggregate.main("all", load_params())
    report.main("all", load_params())
    page = Path("results/report/index.html").read_text()
    assert "No system was scored" in page and "real video, shuffled sound" in page
    assert 'id="matrix"' not in page and 'id="gallery"' in page


def test_a_missing_source_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(fabricate(tmp_path, speakers=2, clips=1, systems=False))
    aggregate.main("all", load_params())
    for path in Path("data/download/synthetic-tr/media").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"synthetic-tr/media/a\.mp4.*run download synthetic-tr"):
        report.main("all", load_params())
    assert not Path("results/report/index.html").exists()


def test_before_aggregate_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(fabricate(tmp_path, speakers=2, clips=1, systems=False))
    with pytest.raises(UserError, match=r"data/aggregate/all/report\.json: no figures here yet; run: babelface evaluate aggregate$"):
        report.main("all", load_params())

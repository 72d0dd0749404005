"""The corpus `grid`: a folder of SPEAKER/.../SENTENCE.mpg, where six characters of the name spell the sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Reject, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract

CARD = Card(
    name="grid",
    title="GRID: 34 speakers, 1,000 six-word sentences each",
    languages=("en",),
    licence="CC BY 4.0 (the release on Zenodo)",
    terms="name the authors",
    consent="volunteers, recorded for research",
    citation="Cooke et al., An audio-visual corpus for speech perception and automatic speech recognition, JASA 2006",
    provenance="recorded in a booth at 25 fps, 3 s a sentence; there is no video of speaker 21",
    access="zenodo.org/records/3625687, or spandh.dcs.shef.ac.uk/gridcorpus; unpack the videos into one folder per speaker (s1, "
           "s2, ...)",
    index="the folder itself",
    hours=27.5,
    commercial=True,
)

CLIP_S = 3.0
LAYOUT = r"(?P<speaker>s\d{1,2})/(?:.*/)?(?P<code>[a-z]{4}[0-9z][a-z])\.(?:mpg|mpeg|mp4|avi)"
WORDS = ({"b": "bin", "l": "lay", "p": "place", "s": "set"}, {"b": "blue", "g": "green", "r": "red", "w": "white"},
         {"a": "at", "b": "by", "i": "in", "w": "with"}, {chr(code): chr(code) for code in range(97, 123) if chr(code) != "w"},
         dict(zip("z123456789", ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"), strict=True)),
         {"a": "again", "n": "now", "p": "please", "s": "soon"})


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the folder, sorted by path."""
    rows = layouts.files(index_folder(config), LAYOUT, expected="s1/.../bbaf2n.mpg")
    return collect(CARD, config, rows, _build, name=lambda raw: f"{raw['speaker']}/{raw['code']}".lower())


def _build(raw: Mapping[str, str]) -> dict:
    spelled = [words.get(letter) for words, letter in zip(WORDS, raw["code"].lower(), strict=True)]
    if None in spelled:
        raise Reject("bad_name", f"{raw['code']!r} spells no sentence of the corpus (such as bbaf2n: bin blue at f two now)")
    speaker = raw["speaker"].lower()
    return {"source": Source("file", raw["path"]), "video": f"{speaker}/{raw['code']}".lower(), "speaker": speaker,
            "start_s": 0.0,
            "end_s": CLIP_S, "extra": {"transcript": " ".join(word for word in spelled if word)}}

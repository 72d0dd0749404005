"""The corpus `ravdess`: a folder Actor_01/01-01-06-01-02-01-12.mp4, where seven numbers of the name say everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Reject, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract

CARD = Card(
    name="ravdess",
    title="RAVDESS: 24 actors, two sentences spoken and sung in eight emotions",
    languages=("en",),
    licence="CC BY-NC-SA 4.0",
    terms="non-commercial; a licence for other uses can be bought",
    consent="actors, recorded for research",
    citation="Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 2018",
    provenance="recorded in a studio, 1280 x 720; every performance also lies there without sound",
    access="zenodo.org/records/1188976: Video_Speech_Actor_01.zip and so on, unpacked into one folder",
    index="the folder itself",
    hours_note="none is published, nor a mean length: 1,440 spoken and 1,012 sung performances with sound, of a few seconds each",
    commercial=False,
)

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
LAYOUT = (r"(?P<modality>0[123])-(?P<channel>0[12])-(?P<emotion>0[1-8])-(?P<intensity>0[12])-(?P<statement>0[12])"
          r"-(?P<repetition>0[12])-(?P<actor>[0-9]{2})\.mp4")


def entries(config: Mapping) -> Iterator[Entry]:
    """Every .mp4 file of the folder, sorted by path; those without sound, by their name, are rejected as no_audio."""
    rows = layouts.files(index_folder(config), LAYOUT, expected="Actor_12/01-01-06-01-02-01-12.mp4")
    return collect(CARD, config, rows, _build, name=lambda raw: raw["path"].rpartition("/")[2].lower().removesuffix(".mp4"))


def _build(raw: Mapping[str, str]) -> dict:
    if raw["modality"] != "01":
        raise Reject("no_audio" if raw["modality"] == "02" else "no_video", f"{raw['path']!r} is the performance without "
                     + ("sound" if raw["modality"] == "02" else "picture"))
    actor = int(raw["actor"])
    if not 1 <= actor <= 24:
        raise Reject("bad_name", f"{raw['path']!r}: there are actors 1 to 24")
    return {"source": Source("file", raw["path"]), "video": raw["path"].rpartition("/")[2], "speaker": f"actor-{actor:02d}",
            "extra": {"channel": "speech" if raw["channel"] == "01" else "song", "emotion": EMOTIONS[int(raw["emotion"]) - 1],
                      "gender": "male" if actor % 2 else "female",
                      "intensity": "normal" if raw["intensity"] == "01" else "strong",
                      "repetition": int(raw["repetition"]), "transcript": STATEMENTS[int(raw["statement"]) - 1]}}

"""The corpus `crema_d`: a folder VideoFlash/ACTOR_SENTENCE_EMOTION_LEVEL.flv, with VideoDemographics.csv beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from core.records import Card, Reject, Source
from corpora.index import layouts
from corpora.index.entries import Entry, collect
from corpora.index.files import fetch, index_folder  # noqa: F401: part of the contract

CARD = Card(
    name="crema_d",
    title="CREMA-D: 7,442 clips of 91 actors, 12 sentences, six emotions",
    languages=("en",),
    licence="Open Database License 1.0; contents under the Database Contents License",
    terms="name the authors; databases made from it stay open",
    consent="actors, recorded and paid for research",
    citation="Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE Transactions on Affective Computing "
             "2014",
    provenance="recorded in a studio; Flash video as shown to raters",
    access="github.com/CheyneyComputerScience/CREMA-D with git-lfs, after its form; set `path` to the clone",
    index="the folder itself; age and sex from VideoDemographics.csv",
    hours=5.3,
    hours_note="follows from the size of its sound: 7,442 files of 16 bits at 16 kHz, 606 MB on the Hugging Face hub",
    commercial=True,
)

SENTENCES = {
    "IEO": "It's eleven o'clock", "TIE": "That is exactly what happened", "IOM": "I'm on my way to the meeting",
    "IWW": "I wonder what this is about", "TAI": "The airplane is almost full", "MTI": "Maybe tomorrow it will be cold",
    "IWL": "I would like a new alarm clock", "ITH": "I think I have a doctor's appointment", "DFA": "Don't forget a jacket",
    "ITS": "I think I've seen this before", "TSI": "The surface is slick", "WSI": "We'll stop in a couple of minutes"}
LAYOUT = r"(?P<actor>\d{4})_(?P<sentence>[A-Z]{3})_(?P<emotion>ANG|DIS|FEA|HAP|NEU|SAD)_(?P<level>LO|MD|HI|XX|X)\.(?:flv|mp4)"


def entries(config: Mapping) -> Iterator[Entry]:
    """Every video file of the folder, sorted by path."""
    root = index_folder(config)
    known = layouts.labels(root / "VideoDemographics.csv", "ActorID")

    def build(raw: Mapping[str, str]) -> dict:
        said, who = SENTENCES.get(raw["sentence"].upper()), known.get(raw["actor"], {})
        if said is None:
            raise Reject("bad_name", f"{raw['sentence']!r} is none of the corpus's twelve sentences")
        extra = {"age": who.get("Age", ""), "emotion": raw["emotion"], "gender": who.get("Sex", ""), "level": raw["level"],
                 "transcript": said}
        return {"source": Source("file", raw["path"]), "video": _name(raw), "speaker": raw["actor"],
                "extra": {key: value for key, value in extra.items() if value}}

    return collect(CARD, config, layouts.files(root, LAYOUT, expected="1001_DFA_ANG_XX.flv"), build, name=_name)


def _name(raw: Mapping[str, str]) -> str:
    return "_".join(raw[part] for part in ("actor", "sentence", "emotion", "level")).upper()

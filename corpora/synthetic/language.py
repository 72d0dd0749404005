"""What the synthetic corpus knows of a language: one file of corpora/languages, named by its tag."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "languages"
_TEXTS = ("name", "family", "script", "voice")


@dataclass(frozen=True, slots=True)
class Language:
    """A language's entry: its names, its espeak-ng voice and its sentences in native script."""

    tag: str
    name: str
    family: str
    script: str
    voice: str
    sentences: tuple[str, ...]


def known_languages(folder: Path = FOLDER) -> tuple[str, ...]:
    """The tags that have a file, sorted."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


@cache
def load_language(tag: str, folder: Path = FOLDER) -> Language:
    """The entry of one tag. Raises ValueError naming the file and the field when it is missing, misspelt or malformed."""
    import yaml

    if tag not in known_languages(folder):
        near = get_close_matches(tag, known_languages(folder), n=3)
        hint = f", or did you mean {', '.join(near)}?" if near else ""
        raise ValueError(f"no language {tag!r}: add corpora/languages/{tag}.yaml{hint}")
    path = folder / f"{tag}.yaml"
    entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    where = f"corpora/languages/{path.name}"
    expected = {*_TEXTS, "sentences"}
    if not isinstance(entry, dict) or set(entry) != expected:
        raise ValueError(f"{where}: expected exactly the fields {sorted(expected)}")
    bad = [name for name in _TEXTS if not isinstance(entry[name], str) or not entry[name].strip()]
    sentences = entry["sentences"]
    if bad or not isinstance(sentences, list) or not sentences or any(not isinstance(s, str) or not s.strip() for s in sentences):
        raise ValueError(f"{where}: {bad[0] if bad else 'sentences'} must be {'a text' if bad else 'a list of texts'}, not empty "
                         "(quote values such as no or on)")
    if len(set(sentences)) != len(sentences):
        raise ValueError(f"{where}: a sentence stands there twice")
    return Language(tag, *(entry[name] for name in _TEXTS), tuple(sentences))

"""How many words or characters a lip reader got wrong. Texts are compared after `normalised`; errors are counted, then divided.

Over many clips add the counts and divide once: a mean of rates would let short sentences weigh as much as long ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Errors:
    """n_errors substitutions, deletions and insertions against n_reference words or characters. Two of them add up."""

    n_errors: int
    n_reference: int

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.n_errors + other.n_errors, self.n_reference + other.n_reference)

    @property
    def rate(self) -> float | None:
        """Errors over the length of the reference, 0 or more (above 1 where much was invented); None for an empty reference."""
        return self.n_errors / self.n_reference if self.n_reference else None


def word_errors(reference: str, heard: str) -> Errors:
    """Word errors of what was heard. For scripts without spaces between words use `character_errors`."""
    a, b = normalised(reference).split(), normalised(heard).split()
    return Errors(edit_distance(a, b), len(a))


def character_errors(reference: str, heard: str) -> Errors:
    """Character errors of what was heard, one space between words counting as a character."""
    a, b = normalised(reference), normalised(heard)
    return Errors(edit_distance(a, b), len(a))


def normalised(text: str) -> str:
    """The text as it is compared: Unicode NFKC, case folded, punctuation and symbols gone, one space between words.

    Apostrophes go without a gap ("don't" -> "dont"), and so do the invisible joiners of Persian and Indic scripts. Marks that
    belong to letters stay, since without them many scripts say something else.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = []
    for c in folded:
        kind = unicodedata.category(c)
        if c in _APOSTROPHES or kind == "Cf":
            continue
        kept.append(" " if kind[0] in "PSC" else c)
    return " ".join("".join(kept).split())


WITHOUT_SPACES = ("zh", "yue", "ja", "th", "lo", "km", "my", "bo")


def has_word_spaces(language: str) -> bool:
    """Whether a language (BCP-47) is written with spaces between words; elsewhere word errors say nothing. Source: the default
    scripts of these languages have line breaks by dictionary or ideograph (Unicode Standard Annex 14)."""
    return language.partition("-")[0].lower() not in WITHOUT_SPACES


_APOSTROPHES = "'\u2019\u02bc"


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The fewest substitutions, deletions and insertions that turn one sequence into the other (Levenshtein 1966)."""
    if len(a) < len(b):
        a, b = b, a
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]

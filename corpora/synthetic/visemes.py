"""Visemes: which mouth shape each IPA symbol asks for, and what the mouth's fields are in it."""

from __future__ import annotations

import unicodedata

# Targets of the FaceMotion mouth fields. Kept far apart from each other, so that a rendered mouth can be told from the others by
# eye. The set of fifteen is the customary one (silence, nine consonant shapes, five vowels); the numbers are ours.
_FIELDS = ("open", "wide", "press", "tuck", "teeth", "tongue")
_TARGETS = {
    "sil": (0.00, 0.00, 0.0, 0.0, 0.00, 0.0),
    "pp": (0.00, -0.10, 1.0, 0.0, 0.00, 0.0),
    "ff": (0.15, 0.10, 0.0, 1.0, 0.90, 0.0),
    "th": (0.35, 0.15, 0.0, 0.0, 0.55, 1.0),
    "dd": (0.26, 0.35, 0.0, 0.0, 0.75, 0.4),
    "kk": (0.40, 0.05, 0.0, 0.0, 0.15, 0.0),
    "ch": (0.32, -0.65, 0.0, 0.0, 1.00, 0.0),
    "ss": (0.15, 0.80, 0.0, 0.0, 1.00, 0.0),
    "nn": (0.50, 0.10, 0.0, 0.0, 0.10, 0.8),
    "rr": (0.38, -0.45, 0.0, 0.0, 0.20, 0.3),
    "aa": (1.00, 0.10, 0.0, 0.0, 0.30, 0.0),
    "eh": (0.65, 0.55, 0.0, 0.0, 0.45, 0.0),
    "ih": (0.30, 1.00, 0.0, 0.0, 0.50, 0.0),
    "oh": (0.70, -0.60, 0.0, 0.0, 0.05, 0.0),
    "ou": (0.22, -1.00, 0.0, 0.0, 0.00, 0.0),
}
VISEMES: dict[str, dict[str, float]] = {name: dict(zip(_FIELDS, row, strict=True)) for name, row in _TARGETS.items()}

_LETTERS = {
    "pp": "p b m ɓ ʙ ɸ β ʘ",
    "ff": "f v ɱ ʋ ⱱ",
    "th": "θ ð ɬ ɮ ǀ",
    "dd": "t d ʈ ɖ ɗ ɾ ɽ ɺ ᶑ ǃ",
    "kk": "k ɡ g q ɢ c ɟ x ɣ χ ʁ ħ ʕ h ɦ ɧ ʔ ʡ ʜ ʢ ŋ ɴ ç ʝ ɠ ʛ ʄ ɰ ʀ ǂ",
    "ch": "ʃ ʒ ɕ ʑ ʂ ʐ",
    "ss": "s z",
    "nn": "n l ɳ ɭ ɫ ʎ ʟ ɲ ȵ ȴ ǁ",
    "rr": "r ɹ ɻ ɚ ɝ",
    "aa": "a ɑ ɐ ʌ æ ɶ ä",
    "eh": "e ɛ ə ɘ ɜ ᵊ",
    "ih": "i ɪ ɨ ᵻ ɯ j",
    "oh": "o ɔ ɒ ɤ ø œ ɵ ɞ",
    "ou": "u ʊ ʉ ᵿ y ʏ w ʍ ɥ",
}
_VISEME_OF = {letter: viseme for viseme, letters in _LETTERS.items() for letter in letters.split()}

VOWELS = frozenset(("aa", "eh", "ih", "oh", "ou"))

_MARKS = set(".-\"'`^*~_:;|#!?0123456789")  # espeak-ng's own marks, seen beside IPA letters; digits are tones
_STOPS, _FRICATIVES, _ASPIRABLE = set("td"), set("szʃʒɕʑʂʐ"), set("ptkqcbdɡgɟsʃɕ")


def _is_modifier(char: str) -> bool:
    """Whether a character only changes the letter before it: diacritics, length, stress, tone, palatalisation, espeak's marks."""
    return char in _MARKS or unicodedata.category(char) in ("Lm", "Mn", "Mc", "Sk")


def segments(symbol: str) -> list[str]:
    """The sounds in one event's symbol, in order, each a letter (or an affricate) with its marks; [] for a pause or bare marks.

    "iou" is three sounds; "tʃʲ", "ts.h" and "kʰ" are one each: t or d joined to a sibilant, and h after a stop, belong together.
    """
    found: list[str] = []
    leading = ""
    for char in unicodedata.normalize("NFD", symbol):
        if char.isspace():
            continue
        if _is_modifier(char):
            if found and char not in "ˈˌ":
                found[-1] += char
            else:
                leading += char
            continue
        last = base(found[-1]) if found else ""
        affricate, aspirate = last in _STOPS and char in _FRICATIVES, char == "h" and last[:1] in _ASPIRABLE
        if not leading and (affricate or aspirate):
            found[-1] += char
        else:
            found.append(leading + char)
        leading = ""
    return [unicodedata.normalize("NFC", sound) for sound in found]


def base(sound: str) -> str:
    """The letters of one sound, without any mark: "ˈtʃʲ" gives "tʃ". NFC letters such as "ç" are decomposed only where IPA
    does."""
    return "".join(char for char in unicodedata.normalize("NFD", sound.replace("ç", "c")) if not _is_modifier(char))


def viseme_of(symbol: str) -> str:
    """The viseme of a symbol's first sound; "sil" for a pause (empty or bare marks). Raises ValueError naming unmapped
    letters."""
    sounds = segments(symbol)
    return visemes_of(symbol)[0] if sounds else "sil"


def visemes_of(symbol: str) -> list[str]:
    """The visemes of all sounds of a symbol, in order: "aɪ" gives ["aa", "ih"]. Raises ValueError naming unmapped letters."""
    letters = [_letter(sound) for sound in segments(symbol)]
    unknown = sorted({letter for letter in letters if letter not in _VISEME_OF})
    if unknown:
        raise ValueError(f"no viseme for {', '.join(f'{c!r} (U+{ord(c[0]):04X})' for c in unknown)} in {symbol!r}: "
                         "add it to _LETTERS in corpora/synthetic/visemes.py")
    return [_VISEME_OF[letter] for letter in letters]


def _letter(sound: str) -> str:
    """The letter that shapes the mouth: the sibilant of an affricate, the stop of an aspirate; espeak-ng's "s." is ʂ."""
    letters = base(sound)
    if "." in sound and letters[-1:] in ("s", "z") or ".h" in sound and letters[-2:-1] in ("s", "z"):
        return "ʂ"
    bare = letters[:-1] if len(letters) > 1 and letters.endswith("h") else letters
    return bare[-1] if len(bare) > 1 and bare[-1] in _FRICATIVES else bare[0]

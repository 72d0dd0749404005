"""A lip reader that says what it was told, once it has seen a mouth."""

from __future__ import annotations

import numpy as np


class Reader:
    """Reads English and Chinese off the view `mouth`; its weights are the words."""

    name, languages, view = "stand-in", ("en", "zh"), "mouth"

    def __init__(self, weights=None):
        self._words = "bin blue at f" if weights is None else weights.read_text()

    def read(self, frames: np.ndarray, language: str) -> str:
        assert frames.dtype == np.uint8 and frames.shape[1:] == (48, 64, 3) and language in self.languages
        return self._words


class Elsewhere(Reader):
    view = "profile"

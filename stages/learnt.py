"""What a trained model may be used for: that follows from what it learnt from, and stands in its card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.licences import Used, together
from core.params import Params


def learnt_from(params: Params, instances: Iterable[str]) -> dict[str, Any]:
    """{learnt_from, corpora, licence, commercial} for the card of a model: the corpora and languages whose tracks it saw
    (`instances`), each corpus's licence and whether that allows commercial use, and the same of all of them together. By
    `licence` the card stands for the model wherever somebody opens it (core.licences.stated)."""
    from corpora.registry import card_of

    names = sorted(instances)
    seen = sorted({i.corpus for i in params.instances() if i.name in names})
    cards = {name: card_of(name, params.corpora[name]) for name in seen}
    whole = together([Used(name, card.licence, card.commercial) for name, card in cards.items()])
    corpora = {name: {"licence": card.licence, "commercial": card.commercial} for name, card in cards.items()}
    return {"learnt_from": names, "corpora": corpora, "licence": whole.licence, "commercial": whole.commercial}

"""Whether the generated face is still the same person: the cosine between embeddings of a face recognition network."""

from __future__ import annotations

import numpy as np


def identity_similarity(real: np.ndarray, generated: np.ndarray) -> float:
    """Mean cosine between the embeddings of real and generated frames, in [-1, 1], 1 for the same; known as CSIM.

    real: (T, D), the same frames of the real video, or (1, D), one reference for all. generated: (T, D). Embeddings need no
    unit length. The cosine of two pictures of one person depends on the network, which belongs to the figure's protocol. Source:
    the cosine similarity of Deng et al. 2019 (ArcFace), as used for talking heads by Zakharov et al. 2019. ValueError for other
    shapes, zero vectors, or values that are not finite.
    """
    real, generated = _unit(real), _unit(generated)
    if real.shape[1] != generated.shape[1] or len(real) not in (1, len(generated)):
        raise ValueError(f"embeddings must be (T or 1, D) and (T, D), not {real.shape} and {generated.shape}")
    return float(np.clip((real * generated).sum(1), -1, 1).mean())


def _unit(embeddings: np.ndarray) -> np.ndarray:
    embeddings = np.asarray(embeddings, dtype=np.float64)
    if embeddings.ndim != 2 or not embeddings.size:
        raise ValueError(f"embeddings must be (T, D) with at least one row, not {embeddings.shape}")
    length = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not (np.isfinite(embeddings).all() and length.all()):
        raise ValueError("an embedding is zero, NaN or infinite: it says nothing about a person")
    return embeddings / length

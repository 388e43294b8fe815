"""Near copies of short texts: MinHash finds candidates, the Jaccard similarity of shingles decides."""

import numpy as np
from numpy.typing import NDArray

from xreasoner.data.words import Hashes, grams

SHINGLE = 3
"""Words per shingle; a shorter text is one shingle."""
SAME = 0.8
"""Jaccard similarity from which two texts count as near copies."""
BANDS, ROWS = 16, 4
"""A pair at 0.8 shares at least one of 16 bands of 4 values in all but 2 of 10,000 cases."""

_ODD = np.random.default_rng(0).integers(0, 1 << 63, BANDS * ROWS, np.uint64) * np.uint64(2) + np.uint64(1)


def shingles(hashes: Hashes) -> Hashes:
    return np.unique(grams(hashes, min(SHINGLE, max(1, len(hashes)))))


def bands(shingles_S: Hashes) -> NDArray[np.uint64]:
    """Texts that share a band are candidates."""
    if not len(shingles_S):
        return np.zeros(BANDS, np.uint64)
    # Each odd factor gives another order of the shingles in the high bits of the product.
    lowest = (shingles_S[:, None] * _ODD[None]).min(0).reshape(BANDS, ROWS)
    turned = lowest * np.uint64(0x9E3779B97F4A7C15)
    return np.bitwise_xor.reduce(turned >> np.arange(ROWS, dtype=np.uint64), axis=1)


def likeness(one_S: Hashes, other_S: Hashes) -> float:
    """Jaccard similarity."""
    common = len(np.intersect1d(one_S, other_S, assume_unique=True))
    return common / max(1, len(one_S) + len(other_S) - common)

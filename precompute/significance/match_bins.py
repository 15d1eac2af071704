"""Match bins: which tracks and decoys have the caption of a clip, or its style. Fixed before any score is seen.

Same caption: the clip's prompt, word for word. Same style: the collection of the tracks with that caption; where none
has it, of those whose captions share most words with it. A clip without words: of the tracks nearest to it in the
space of the model's condition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from explorer.store.above_noise import OTHER, SAME_CAPTION, SAME_STYLE
from precompute.corpus.tracks import Track

NEIGHBOURS = 9  # tracks that say by majority what style a clip without words is of


def match_clips(prompts: Sequence[str], tracks: Sequence[Track], similarity: np.ndarray | None = None) -> np.ndarray:
    """Match bins [Q, N] uint8 of clips with these prompts, empty where a clip has none.

    `similarity`: [Q, N], higher = nearer, for clips without a prompt; without it none of their tracks is matched.
    """
    captions = [_split_words(track.caption) for track in tracks]
    collections = np.array([track.collection for track in tracks])
    bins = np.full((len(prompts), len(tracks)), OTHER, np.uint8)
    for q, prompt in enumerate(prompts):
        words = _split_words(prompt)
        if words:
            same = np.array([caption == words for caption in captions])
            near = same if same.any() else _find_most_alike(words, captions)
            styles = set(collections[near].tolist())
        elif similarity is not None:
            nearest = np.argsort(-similarity[q], kind="stable")[:NEIGHBOURS]
            same, styles = np.zeros(len(tracks), bool), {Counter(collections[nearest].tolist()).most_common(1)[0][0]}
        else:
            continue
        bins[q, np.isin(collections, list(styles))] = SAME_STYLE
        bins[q, same] = SAME_CAPTION
    return bins


def _split_words(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split())


def _find_most_alike(words: tuple[str, ...], captions: Sequence[tuple[str, ...]]) -> np.ndarray:
    """bool [N]: the captions of the largest share of words in common (Jaccard index)."""
    own = set(words)
    shares = np.array([len(own & set(caption)) / len(own | set(caption)) for caption in captions])
    return np.isclose(shares, shares.max())

"""Aspects and passages: a planted copy is found with its spans, an unrelated pair is not, p-values are honest."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest

from precompute.common.cache import Cache
from precompute.resemblance import features
from precompute.resemblance.alignment import SEMITONES, align
from precompute.resemblance.aspects import ASPECTS, AspectComparison
from precompute.resemblance.features import HOP_S, RATE, SoundSource, compute_features, describe
from precompute.resemblance.passages import RARE, PassageFinder
from precompute.resemblance.tables import choose_pairs, tabulate_features


def tune(seed: int, notes: int = 22, beat_s: float = 0.28, harmonics: int = 5, semitones: int = 0) -> np.ndarray:
    """A seeded melody over a bass, [T] at RATE: notes of one or two beats, `harmonics` partials each."""
    rng = np.random.default_rng(seed)
    pitches = 60 + np.cumsum(rng.integers(-4, 5, notes)) % 19
    lengths = rng.choice([1, 1, 2], notes)
    wave = np.zeros(int((lengths.sum() + 1) * beat_s * RATE))
    start = 0.0
    for pitch, length in zip(pitches, lengths, strict=True):
        for note, level in ((pitch, 1.0), (36 + (pitch * 5) % 12, 0.5)):
            since = np.arange(int(length * beat_s * RATE)) / RATE
            hertz = 440 * 2 ** ((note + semitones - 69) / 12)
            tone = sum(np.sin(2 * np.pi * hertz * k * since) / k for k in range(1, harmonics + 1))
            at = int(start * RATE)
            wave[at : at + len(since)] += level * np.exp(-3 * since) * tone
        start += length * beat_s
    return (0.2 * wave).astype(np.float32)


@pytest.fixture(scope="module")
def waves() -> list[np.ndarray]:
    """40 unrelated tunes; the last 20 serve as decoys."""
    return [tune(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def described(waves) -> list[dict]:
    return [compute_features(wave) for wave in waves]


# -- alignment ---------------------------------------------------------------------------------------------------------


def slow_align(gains: np.ndarray) -> float:
    """The naive twin: cell by cell with whole matrices, as the definition has it."""
    best = 0.0
    for matrix in gains.astype(np.float64):
        score, peak = np.zeros_like(matrix), np.zeros_like(matrix)
        for i, j in np.ndindex(*matrix.shape):
            steps = [(1, 1, 0.0), (1, 2, 0.3), (2, 1, 0.3)]
            before = [(score[i - a, j - b] - cost, peak[i - a, j - b]) for a, b, cost in steps if i >= a and j >= b]
            reached, highest = max([(0.0, 0.0), *before], key=lambda pair: pair[0])
            value = reached + matrix[i, j]
            if value > 0 and value >= highest - 5:
                score[i, j], peak[i, j] = value, max(highest, value)
        best = max(best, float(score.max()))
    return best


def test_alignment_equals_its_naive_twin() -> None:
    rng = np.random.default_rng(0)
    for size, least in (((1, 1), -1), ((3, 9), -1), ((17, 12), -0.5), ((30, 31), -1), ((40, 50), -0.4)):
        gains = rng.uniform(least, 1, (12, *size)).astype(np.float32)
        gains[:, 20:28] -= 0.8  # a gap in the middle
        assert align(gains).score == pytest.approx(slow_align(gains), rel=1e-5)


def test_alignment_tells_where_and_how_far() -> None:
    gains = np.full((12, 40, 50), -1.0, dtype=np.float32)
    for step in range(10):
        gains[SEMITONES.index(-3), 5 + step, 20 + step] = 0.9
    found = align(gains)
    assert (found.semitones, found.first, found.second) == (-3, (5, 15), (20, 30))
    assert found.score == pytest.approx(9.0, rel=1e-5)
    assert align(-np.ones((12, 4, 4))).score == 0


# -- passages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["noise", "another clip"])
def test_a_planted_copy_is_found_with_its_spans(waves, described, host: str) -> None:
    """2.5 s of a track, two semitones up, pasted at 3 s."""
    excerpt = librosa.effects.pitch_shift(waves[1][RATE : int(3.5 * RATE)], sr=RATE, n_steps=2)
    rng = np.random.default_rng(0)
    clip = waves[0].copy() if host == "another clip" else 0.02 * rng.standard_normal(7 * RATE).astype(np.float32)
    clip[3 * RATE : 3 * RATE + len(excerpt)] = excerpt
    finder = PassageFinder(compute_features(clip), described[20:])
    [best, *_] = finder.find_passages(described[1])
    assert best.semitones == 2 and best.p_value == pytest.approx(1 / 21)
    assert best.clip == pytest.approx((3, 5.5), abs=0.35) and best.track == pytest.approx((1, 3.5), abs=0.35)
    assert best.similarity > 1
    others = [finder.find_passages(track)[0].similarity for track in described[2:20]]
    assert best.similarity > 1.5 * np.median(others) and (host == "another clip" or best.similarity > 1.5 * max(others))


def test_two_copied_passages_are_told_apart(waves, described) -> None:
    clip = np.concatenate([waves[3][: 2 * RATE], waves[4][: 2 * RATE], waves[3][3 * RATE : 5 * RATE]])
    found = PassageFinder(compute_features(clip), described[20:]).find_passages(described[3])
    assert len(found) >= 2 and all(p.p_value <= RARE for p in found[:2])
    spans = sorted((p.clip, p.track) for p in found[:2])
    assert spans[0][0] == pytest.approx((0, 2), abs=0.35) and spans[1][0] == pytest.approx((4, 6), abs=0.6)
    assert spans[0][1] == pytest.approx((0, 2), abs=0.35) and spans[1][1] == pytest.approx((3, 5), abs=0.7)


def test_unrelated_pairs_have_p_values_that_spread_evenly(described) -> None:
    values = []
    for clip in described[:10]:
        finder = PassageFinder(clip, described[20:])
        values += [finder.find_passages(track)[0].p_value for track in described[10:20]]
    shares = np.histogram(values, bins=4, range=(0, 1.0001))[0] / len(values)
    assert (shares > 0.1).all() and (shares < 0.45).all()
    assert np.mean(np.array(values) <= 0.1) < 0.2


def test_without_decoys_nothing_is_certain(described) -> None:
    [best, *more] = PassageFinder(described[0], []).find_passages(described[0])
    assert best.p_value == 1 and not more


def test_silence_copies_nothing(described) -> None:
    silent = compute_features(np.zeros(3 * RATE, dtype=np.float32))
    assert PassageFinder(silent, described[20:]).find_passages(described[0]) == []
    assert PassageFinder(described[0], described[20:]).find_passages(silent) == []


# -- aspects -----------------------------------------------------------------------------------------------------------


def test_the_same_music_elsewhere_is_alike_where_it_should_be(described) -> None:
    """One tune transposed, one with another sound, one faster: each keeps its other aspects."""
    changed = {
        "key": compute_features(tune(0, semitones=5)),
        "sound": compute_features(tune(0, harmonics=2)),
        "speed": compute_features(tune(0, beat_s=0.42)),
    }
    clips = list(changed.values())
    aspects = AspectComparison(clips, described)
    found = {name: aspects.rank_similarities(row, 0) for row, name in enumerate(changed)}
    for name, kept in (("key", "melody harmony rhythm"), ("sound", "melody harmony rhythm"), ("speed", "harmony")):
        for aspect in kept.split():
            assert found[name][aspect] > 75, (name, aspect, found[name])
    assert found["sound"]["timbre"] < 50
    assert found["speed"]["rhythm"] < found["key"]["rhythm"]


def test_percentiles_of_random_pairs_are_spread_evenly(described) -> None:
    aspects = AspectComparison(described[:8], described[8:])
    for aspect in ASPECTS:
        values = [aspects.rank_similarities(q, i)[aspect] for q in range(8) for i in range(32)]
        assert np.mean(values) == pytest.approx(50, abs=1e-6)  # all pairs are the reference here
        assert min(values) < 2 and max(values) > 98


def test_loudness_plays_no_part(waves, described) -> None:
    quiet = compute_features(0.05 * waves[0])
    for name, value in described[0].items():
        assert np.isclose(quiet[name], value, atol=2e-3).mean() > 0.9, name  # a frame may stand on the edge of silence


@pytest.mark.parametrize("samples", [1, 700, RATE // 2])
def test_very_short_sounds_are_described(samples: int) -> None:
    found = compute_features(np.random.default_rng(0).standard_normal(samples).astype(np.float32))
    assert all(np.isfinite(value).all() for value in found.values())
    assert len(found["chroma"]) == len(found["melody"]) == len(found["onset"]) == -(-samples // features.HOP)


# -- the stage ---------------------------------------------------------------------------------------------------------


def test_features_are_kept(waves, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    first = describe(SoundSource("a", lambda: waves[0]), cache)

    def never() -> np.ndarray:
        raise AssertionError("read again")

    again = describe(SoundSource("a", never), cache)
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_pairs_are_the_union_of_all_methods() -> None:
    one, other = np.array([[1, 2, 3, 0]]), np.array([[3, 1, 2, 0]])
    assert choose_pairs([one, other], top=1) == {(0, 0), (0, 1)}
    assert choose_pairs([one, other], top=9) == {(0, 0), (0, 1), (0, 2)}
    assert choose_pairs([]) == set()


def test_columns_are_whole_and_repeatable(described) -> None:
    clips = {7: described[0], 9: described[1]}
    tracks, ids, decoys = described[1:30], list(range(101, 130)), list(range(15, 29))
    pairs = {(0, 0), (1, 0), (1, 3)}
    aspects, passages = tabulate_features(clips, tracks, ids, decoys, pairs)
    assert len(aspects["aspect"]) == 3 * len(ASPECTS) and all(0 <= p <= 100 for p in aspects["percentile"])
    first = [row for row in zip(*passages.values(), strict=True) if row[2] == 1]
    assert [row[:2] for row in first] == [(7, 101), (9, 101), (9, 104)]
    for row in first:
        assert 0 <= row[3] < row[4] and 0 <= row[5] < row[6] and 0 < row[9] <= 1
    itself = first[1]
    assert itself[7] == 0 and itself[9] == pytest.approx(1 / 15)
    assert itself[4] - itself[3] == pytest.approx(float(described[1]["seconds"]), abs=2 * HOP_S)
    assert tabulate_features(clips, tracks, ids, decoys, reversed(sorted(pairs))) == (aspects, passages)
    assert tabulate_features(clips, tracks, ids, decoys, [])[0]["clip_id"] == []

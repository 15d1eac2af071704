"""Normalisation, error rates and diagnostics against naive twins and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from precompute.corpus.tracks import Track
from precompute.significance import error_rates
from precompute.store import tables


def naive_q_values(scores: np.ndarray, is_train: np.ndarray, is_decoy: np.ndarray) -> np.ndarray:
    """The definition, word for word: O(n^2) and worse."""
    n_train, n_decoy = is_train.sum(), is_decoy.sum()
    regular = scores[is_train | is_decoy]

    def rate(threshold: float) -> float:
        above = max(1, (scores[is_train] >= threshold).sum())
        return min(1.0, (1 + (scores[is_decoy] >= threshold).sum()) * (n_train / n_decoy) / above)

    return np.array([min([rate(t) for t in regular if t <= s], default=1.0) for s in scores])


def halves(n_train: int, n_decoy: int, planted: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Masks: training tracks first, then decoys, then planted ones, which are in neither."""
    place = np.arange(n_train + n_decoy + planted)
    return place < n_train, (place >= n_train) & (place < n_train + n_decoy)


@pytest.mark.parametrize("ties", [False, True])
def test_q_values_against_the_definition(ties: bool) -> None:
    rng = np.random.default_rng(1)
    is_train, is_decoy = halves(40, 25, planted=5)
    for _ in range(20):
        scores = rng.standard_normal(70) + 1.0 * is_train
        scores = np.round(scores * 2) / 2 if ties else scores
        found = error_rates.q_values(scores, is_train, is_decoy)
        assert np.allclose(found, naive_q_values(scores, is_train, is_decoy), rtol=0, atol=1e-12)


def test_q_values_never_rise_with_the_score() -> None:
    rng = np.random.default_rng(2)
    is_train, is_decoy = halves(50, 50)
    q = error_rates.q_values(scores := rng.standard_normal(100) + is_train, is_train, is_decoy)
    assert (np.diff(q[np.argsort(scores)]) <= 0).all() and q.min() > 0 and q.max() <= 1


def test_without_decoys_nothing_can_be_told_from_noise() -> None:
    scores = np.arange(5.0)
    assert (error_rates.q_values(scores, np.ones(5, bool), np.zeros(5, bool)) == 1).all()


def test_pure_noise_keeps_the_nominal_error_rate() -> None:
    rng = np.random.default_rng(3)
    is_train, is_decoy = halves(60, 120)
    scores = rng.standard_normal((2000, 180))
    assert error_rates.empirical_error_rate(scores, is_decoy) <= 1.5 * error_rates.Q_LIMIT
    errors = [error_rates.q_values(row, is_train, is_decoy)[is_train].min() <= error_rates.Q_LIMIT for row in scores]
    assert np.mean(errors) <= 1.5 * error_rates.Q_LIMIT


def test_planted_signals_are_found() -> None:
    rng = np.random.default_rng(4)
    is_train, is_decoy = halves(100, 100)
    found, false = [], []
    for _ in range(50):
        scores = rng.standard_normal(200)
        scores[:20] += 5.0
        called = (error_rates.q_values(scores, is_train, is_decoy) <= error_rates.Q_LIMIT) & is_train
        found.append(called[:20].mean())
        false.append(called[20:].sum() / max(1, called.sum()))
    assert np.mean(found) >= 0.9 and np.mean(false) <= 1.5 * error_rates.Q_LIMIT


@pytest.mark.parametrize(("track_sd", "clip_sd"), [(1.0, 1.0), (2.0, 0.5), (0.3, 3.0)])
def test_standard_error_against_simulation(track_sd: float, clip_sd: float) -> None:
    """Crossed draws: cells = score + a_replicate + b_half; the truth is the spread of the mean itself."""
    rng = np.random.default_rng(5)
    replicates, half_count, trials = 8, 2, 20_000
    cells = (
        track_sd * rng.standard_normal((replicates, 1, trials))
        + clip_sd * rng.standard_normal((1, half_count, trials))
        + 0.1 * rng.standard_normal((replicates, half_count, trials))
    )
    truth = cells.mean((0, 1)).std()
    claimed = np.sqrt((error_rates.standard_error(cells) ** 2).mean())
    assert claimed == pytest.approx(truth, rel=0.15)


def test_standard_error_is_never_too_small_for_plain_noise() -> None:
    """Noise of single cells alone counts in both terms: at most sqrt(2) too large, never too small."""
    cells = np.random.default_rng(6).standard_normal((8, 2, 20_000))
    ratio = np.sqrt((error_rates.standard_error(cells) ** 2).mean()) / cells.mean((0, 1)).std()
    assert 1.0 < ratio < 1.05 * np.sqrt(2)


def test_standard_error_of_equal_cells_is_zero() -> None:
    assert (error_rates.standard_error(np.ones((4, 2, 3))) == 0).all()


def test_area_under_curve_against_pair_counts() -> None:
    rng = np.random.default_rng(10)
    is_train, is_decoy = halves(12, 9, planted=3)
    scores = rng.standard_normal((3, 24)) + 0.5 * is_train
    wanted = [np.mean([a > b for a in row[is_train] for b in row[is_decoy]]) for row in scores]
    assert error_rates.area_under_curve(scores, is_train, is_decoy) == pytest.approx(np.mean(wanted))


def test_ranks_give_ties_in_order() -> None:
    assert error_rates.ranks(np.array([[1.0, 3.0, 3.0, 2.0, 3.0]])).tolist() == [[5, 1, 2, 4, 3]]


def test_decoys_in_top_counts_regular_items_alone() -> None:
    is_train, is_decoy = halves(3, 3, planted=2)
    scores = np.array([[5.0, 1, 0, 4, 3, 2, 99, 98]])  # planted ones on top do not count
    assert error_rates.decoys_in_top(scores, is_train, is_decoy, 2) == 0.5
    assert error_rates.decoys_in_top(scores, is_train, is_decoy, 4) == 0.75


def test_share_of_top_is_of_the_positive_score() -> None:
    assert error_rates.share_of_top(np.array([[6.0, -5, 2, 2], [1, 0, 0, 0]]), 1) == pytest.approx((0.6 + 1) / 2)
    assert error_rates.share_of_top(np.array([[-1.0, -2]]), 1) == 0.0


def test_correlation_between_clips() -> None:
    up = np.array([1.0, 2, 3, 4])
    assert error_rates.correlation_between_clips(np.stack([up, 10 * up])) == pytest.approx(1)
    assert error_rates.correlation_between_clips(np.stack([up, -up])) == pytest.approx(-1)
    assert error_rates.correlation_between_clips(np.stack([up, up, -up])) == pytest.approx(-1 / 3)
    assert error_rates.correlation_between_clips(up[None]) == 0.0


def test_correlation_with_a_property() -> None:
    scores = np.array([[1.0, 2, 3], [3, 2, 1]])
    assert error_rates.correlation_with(scores[:1], np.array([5.0, 6, 90])) == pytest.approx(1)
    assert error_rates.correlation_with(scores, np.array([5.0, 6, 90])) == pytest.approx(0)


def test_above_noise_needs_both() -> None:
    q = np.array([0.10, 0.11, 0.05, 0.05])
    found = error_rates.above_noise(np.array([3.0, 3.0, 2.0, -9.0]), np.array([1.0, 1, 1, 1]), q)
    assert found.tolist() == [True, False, False, False]


def track(number: int, split: str = "train", planted: str = "") -> Track:
    texts = dict.fromkeys(
        "work_id title composer collection rights_holder licence_composition licence_encoding licence_rendering"
        " licence_evidence source instrument caption".split(),
        "x",
    )
    return Track(number, **texts, split=split, duration_s=1.0 + number, audition="full", path=None, planted=planted)


@pytest.fixture
def tracks() -> list[Track]:
    regular = [track(i) for i in range(8)] + [track(10 + i, "decoy") for i in range(8)]
    return [*regular, track(30, planted="rare"), track(31, "decoy", planted="rare")]


def test_planted_tracks_stay_out_of_the_statistics(tracks: list[Track]) -> None:
    is_train, is_decoy, trained = tables.masks(tracks)
    assert (is_train.sum(), is_decoy.sum(), trained.sum()) == (8, 8, 9)
    rng = np.random.default_rng(11)
    cells, cohort = rng.standard_normal((3, 18, 4, 2, 2)), rng.standard_normal((9, 18))
    plain = tables.calibrated(cells, cohort, tracks)
    cells[:, 16:] += 1000.0
    cohort[:, 16:] *= 3.0
    loud = tables.calibrated(cells, cohort, tracks)
    regular = slice(0, 16)
    for name in ("score_norm", "q_value", "above_noise"):
        assert (getattr(plain, name)[:, regular] == getattr(loud, name)[:, regular]).all()
    assert (loud.rank[:, 16:] <= 2).all()
    assert (loud.train_rank[:, 16] == 1).all() and (loud.train_rank[:, 17] == 0).all()


def test_calibrated_ranks_are_permutations(tracks: list[Track]) -> None:
    rng = np.random.default_rng(12)
    found = tables.calibrated(rng.standard_normal((3, 18, 4, 2, 2)), rng.standard_normal((9, 18)), tracks)
    trained = tables.masks(tracks)[2]
    for q in range(3):
        assert sorted(found.rank[q]) == list(range(1, 19))
        assert sorted(found.train_rank[q, trained]) == list(range(1, 10))
        assert (np.diff(found.score_norm[q][np.argsort(found.rank[q])]) <= 0).all()


def test_diagnostics_are_finite_and_tell_self_ranks(tracks: list[Track]) -> None:
    rng = np.random.default_rng(13)
    cells, cohort = rng.standard_normal((5, 18, 4, 2, 2)), rng.standard_normal((9, 18))
    cells[3, 2] += 50  # clips 3 and 4 unlearn tracks 2 and 5
    cells[4, 5] += 50
    report = tables.diagnostics(tables.calibrated(cells, cohort, tracks), np.array([2, 5]), tracks, 3)
    found = {name: value for name, value, _ in report}
    assert np.isfinite(list(found.values())).all()
    assert found["self_rank_raw"] == found["self_rank_norm"] == 1.0 and found["decoys_chance"] == 0.5


def test_the_explorer_counts_false_discoveries_in_the_same_way():
    from explorer.store.ranking import Q_LIMIT as SHOWN_LIMIT
    from explorer.store.ranking import q_values as shown_q_values

    rng = np.random.default_rng(11)
    for _ in range(20):
        scores = np.round(rng.normal(0, 1, 90) + 0.5, 1)
        is_decoy = rng.random(90) < rng.uniform(0, 1)
        regular = rng.random(90) < 0.8
        expected = error_rates.q_values(scores, ~is_decoy & regular, is_decoy & regular)
        assert shown_q_values(scores, is_decoy, regular) == pytest.approx(expected)
    assert SHOWN_LIMIT == error_rates.Q_LIMIT

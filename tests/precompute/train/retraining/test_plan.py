"""Plans of trainings: halves are cut by work and stratified, and the draws of a part are a thinning of the whole's."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from precompute.config.retraining import RetrainingSection
from precompute.corpus.tracks import Track
from precompute.errors import UserError
from precompute.train.retraining.keyed_loss import draw_noise, order_draws
from precompute.train.retraining.plan import cut_half, plan_trainings


@pytest.fixture
def corpus(tracks: list[Track]) -> list[Track]:
    """30 tracks of 20 works: in each of two collections five works have two recordings, and five have one."""
    made = []
    for number in range(30):
        work = number % 20
        collection = ("high", "low")[work % 2]
        made.append(replace(tracks[0], track_id=number + 1, work_id=f"work-{work}", collection=collection))
    return made


def test_a_half_holds_whole_works_and_half_of_each_collection(corpus: list[Track]) -> None:
    seen: Counter[int] = Counter()
    for number in range(200):
        rows = cut_half(corpus, seed=3, number=number)
        works = {corpus[row].work_id for row in rows}
        assert rows == tuple(row for row, track in enumerate(corpus) if track.work_id in works)
        for collection in ("high", "low"):
            assert len({t.work_id for t in corpus if t.collection == collection and t.work_id in works}) == 5
        seen.update(rows)
    assert min(seen.values()) > 70 and max(seen.values()) < 130  # a fair coin: 100, standard deviation 7


def test_of_an_odd_number_of_works_a_coin_decides(corpus: list[Track]) -> None:
    odd = [track for track in corpus if track.work_id != "work-0"]  # nine works in one collection
    counts = Counter(len({odd[row].work_id for row in cut_half(odd, 0, n)}) for n in range(100))
    assert set(counts) == {9, 10} and min(counts.values()) > 30


def test_the_plan_names_every_training_once_and_repeats_equal_rows(corpus: list[Track]) -> None:
    section = RetrainingSection(halves=6, repeats=2, full=2)
    trainings = plan_trainings(corpus, section)
    names = [one.name for one in trainings]
    wanted = ["full-0", "full-1", "half-000", "half-000-again", "half-001", "half-001-again"]
    assert names == [*wanted, "half-002", "half-003", "half-004", "half-005"]
    by_name = {one.name: one for one in trainings}
    assert by_name["half-001"].rows == by_name["half-001-again"].rows
    assert by_name["half-001"].seed == by_name["full-0"].seed != by_name["half-001-again"].seed
    assert len({one.rows for one in trainings}) == 7
    longer = plan_trainings(corpus, replace(section, halves=9))  # more halves: those that are there stay as they are
    assert longer[: len(trainings)] == trainings


def test_draws_of_a_part_are_those_of_the_whole_without_the_others() -> None:
    weights, part = [1.0, 1.0, 8.0, 1.0, 2.0], [0, 2, 4]
    whole = order_draws(weights, range(5), 400, seed=5)
    own = order_draws(weights, part, 200, seed=5)
    thinned = [draw for draw in whole if draw[0] in part]
    assert own == thinned[:200] and len(own) == 200
    counts = Counter(row for row, _ in whole)
    assert counts[2] == pytest.approx(8 * counts[0], rel=0.1)
    for row in range(5):  # occurrences count up from 0
        assert [k for r, k in whole if r == row] == list(range(counts[row]))
    assert whole != order_draws(weights, range(5), 400, seed=6)


def test_noise_belongs_to_seed_track_and_occurrence_and_times_are_spread_evenly() -> None:
    t, eps, _ = draw_noise(1, 2, 3, (4, 5))
    again = draw_noise(1, 2, 3, (4, 5))
    assert t == again[0] and torch.equal(eps, again[1])
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        assert draw_noise(*other, (4, 5))[0] != t
        assert not torch.equal(draw_noise(*other, (4, 5))[1], eps)
    drawn = [draw_noise(0, 7, k, (4, 5)) for k in range(300)]
    times = np.sort([t for t, _, _ in drawn])
    assert np.abs(times - (np.arange(300) + 0.5) / 300).max() < 0.02  # of random times 0.08 would be usual
    assert np.mean([not has for _, _, has in drawn]) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"halves": 3}, "halves = 3"),
        ({"repeats": 65}, "repeats = 65"),
        ({"strata": 3}, "strata = 3"),
        ({"num_heads": 3}, "num_heads = 3"),
        ({"short_s": 4.0}, "short_s = 4.0"),
        ({"full": 0}, "full = 0"),
        ({"steps": 0}, "steps = 0"),
        ({"short_every": -1}, "short_every = -1"),
        ({"removal_clips": 99}, "removal_clips"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RetrainingSection(**wrong)  # type: ignore[arg-type]

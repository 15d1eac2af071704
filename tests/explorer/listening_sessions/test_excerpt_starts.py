"""Where excerpts begin: at the strongest moments, and so that a beginning tells no lane apart."""

from __future__ import annotations

import numpy as np
import pytest

from explorer.listening_sessions import plan
from explorer.listening_sessions.excerpt_starts import ExcerptStart, StartChooser, describe_starts, find_best_start
from explorer.listening_sessions.records import SessionRefusedError
from explorer.sound.permission import measure_heard
from explorer.state.store_views import StoreViews
from explorer.store.records import SoundRecord, TrackMoments
from support.listening import plan_of, wanted


def naive(values, step_s, seconds, room_s, grain=1e-3):
    """The largest sum over a fine grid of starts."""
    times = np.arange(0, len(values) * step_s, grain)
    fine = np.asarray(values)[np.minimum((times / step_s + 1e-9).astype(int), len(values) - 1)]
    total = np.concatenate([[0.0], np.cumsum(fine)]) * grain / step_s
    count = round(seconds / grain)
    starts = np.arange(0, round(room_s / grain) + 1)
    ends = np.minimum(starts + count, len(total) - 1)
    return (total[ends] - total[starts]).max()


@pytest.mark.parametrize("seed", range(12))
def test_no_other_start_has_a_larger_sum(seed):
    dice = np.random.default_rng(seed)
    step_s, count = float(dice.choice([0.125, 0.2, 0.5])), int(dice.integers(6, 30))
    values = dice.normal(0.2, 1, count)
    seconds = float(np.round(dice.uniform(0.3, 0.7) * count * step_s, 2))
    room_s = count * step_s - seconds
    found = find_best_start(values, step_s, seconds, room_s)
    largest = naive(values, step_s, seconds, room_s)
    if found is None:
        assert largest <= 0.05
        return
    assert 0 <= found <= room_s
    edges, total = np.arange(count + 1) * step_s, np.concatenate([[0], np.cumsum(values)])
    own = np.interp(found + seconds, edges, total) - np.interp(found, edges, total)
    assert own == pytest.approx(largest, abs=0.05)


def test_the_earliest_of_equal_starts_and_none_without_influence():
    assert find_best_start([0, 1, 0, 0, 1, 0], 1.0, 1.0, 5.0) == 1.0
    assert find_best_start([1, 1, 1, 1], 0.5, 1.0, 1.0) == 0.0
    assert find_best_start([-1, -2, -1], 1.0, 1.0, 2.0) is None
    assert find_best_start([0, 0, 0, 9], 1.0, 2.5, 1.0) == 1.0  # no further than what may be heard
    assert find_best_start([5], 1.0, 1.0, 0.0) == 0.0


def sound(seconds=10.0, peaks=(), audition="full"):
    return SoundRecord(seconds, "x.wav", False, audition, None, None, peaks)


class MomentsOfTrackOne:
    """A store, and its reader of scores, that keeps moments of track 1 alone."""

    @property
    def scores(self):
        return self

    def read_moments(self, method_id, clip_id, track_id):
        return TrackMoments(1.0, (0, 0, 0, 0, 0, 9, 0, 0, 0, 0)) if track_id == 1 else None

    def read_clip_moments(self, method_id, clip_id, track_ids):
        return None


def of(way, seed=0, seconds=2.0):
    method = type("M", (), {"method_id": 1})()
    return StartChooser(MomentsOfTrackOne(), way, 1, [method], seconds, np.random.default_rng(seed))


def test_a_track_without_moments_begins_at_its_loudest_part():
    starts, loud_late = of("strongest"), tuple([10] * 50 + [200] * 10 + [10] * 40)
    assert starts.choose_for_top(1, sound()) == ExcerptStart(4.0, "moment", 0.5)
    late = starts.choose_for_top(2, sound(peaks=loud_late))
    assert late.rule == "loudest" and 4.0 <= late.start_s <= 5.0
    assert starts.choose_for_top(2, sound()) == ExcerptStart(0.0, "loudest", 0.0)
    heard_first = starts.choose_for_top(2, sound(100.0, tuple([10] * 80 + [200] * 20), "excerpt"))
    assert heard_first.start_s <= 13.0  # 15 s may be heard
    assert starts.choose_for_clip(sound(), [1, 2]) == ExcerptStart(0.0, "beginning")


def test_controls_borrow_rule_and_place_so_that_both_are_spread_alike():
    starts = of("strongest")
    lent = [ExcerptStart(4.0, "moment", 0.5), ExcerptStart(0.0, "moment", 0.0), ExcerptStart(3.0, "loudest", 0.4)]
    starts.lend(lent)
    found = [starts.choose_for_control(sound(22.0, (0, 0, 0, 255))) for _ in range(600)]
    moments = [one.part for one in found if one.rule == "moment"]
    assert sum(one.rule == "loudest" for one in found) == pytest.approx(200, abs=60)
    assert set(moments) == {0.0, 0.5} and moments.count(0.5) == pytest.approx(200, abs=60)
    assert {one.start_s for one in found if one.rule == "loudest"} == {16.5}
    assert of("strongest").choose_for_control(sound()).rule == "loudest"  # nobody to borrow from


def test_the_other_ways_treat_all_alike():
    for way in ("beginning", "anywhere"):
        starts = of(way, 3)
        many = [starts.choose_for_top(1, sound()) for _ in range(200)] + [
            starts.choose_for_control(sound()) for _ in range(200)
        ]
        assert {one.rule for one in many} == {way}
        assert all(0 <= one.start_s <= 8.0 for one in many)
        assert np.mean([one.start_s for one in many]) == pytest.approx(0 if way == "beginning" else 4.0, abs=0.6)


def test_a_session_begins_where_the_store_says(store):
    made = plan_of(store, clips=[1], k=3, starts="strongest", seconds=1.0)
    trial = made.trials[0]

    def room_of(lane):
        return measure_heard(store.tracks.read_sound(lane.track_id)) - 1.0

    tops = [lane for lane in trial.pairs if lane.role == "top"]
    for lane in tops:
        kept = [m for i in (1, 2) if (m := store.scores.read_moments(i, 1, lane.track_id))]
        expected = find_best_start(kept[0].influence, 1 / kept[0].rate_hz, 1.0, room_of(lane))
        assert lane.start_s == pytest.approx(expected, abs=1e-3)
    windows = store.scores.read_clip_moments(1, 1, [lane.track_id for lane in tops])
    total = np.sum(list(windows.influence.values()), axis=0)
    assert trial.clip.start_s == pytest.approx(find_best_start(total, windows.window_s, 1.0, 1.0), abs=1e-3)
    parts = {lane.start_s / room_of(lane) for lane in tops}
    for lane in trial.pairs:
        if lane.role in ("random", "decoy"):
            part = lane.start_s / room_of(lane)
            assert min(abs(part - one) for one in parts) < 2e-3
        twins = [one for one in tops if one.track_id == lane.track_id]
        assert lane.role != "duplicate" or lane.start_s == twins[0].start_s
        assert lane.role != "match" or lane.start_s == trial.clip.start_s
    assert len({lane.start_s for lane in trial.lanes}) > 3
    assert made.settings["begins"] == describe_starts(
        "strongest", [ExcerptStart(0, "moment")] * len(tops), [ExcerptStart(0, "moment")]
    )
    assert "anywhere" in plan_of(store, clips=[1], starts="anywhere").settings["begins"]
    assert set(lane.start_s for lane in plan_of(store, clips=[1]).trials[0].lanes) == {0.0}


def test_a_way_that_is_none_is_refused(store):
    for way in ("middle", None, ["strongest"], 3):
        with pytest.raises(SessionRefusedError):
            plan.SessionRequest.parse(wanted(starts=way), StoreViews(store))

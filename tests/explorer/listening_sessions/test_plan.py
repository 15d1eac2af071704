"""The pairs of a session and their excerpts: `audition` obeyed, equal in length and loudness."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from explorer.listening_sessions import excerpts
from explorer.listening_sessions.file import SessionFile
from explorer.listening_sessions.plan import SessionRequest, list_offered_clips, suggest_seconds
from explorer.listening_sessions.records import SessionRefusedError
from explorer.sound.permission import SoundRefusedError
from explorer.state.store_views import StoreViews
from support.listening import plan_of, wanted

pyloudnorm = pytest.importorskip("pyloudnorm")


def by_role(trial, role):
    return [lane.track_id for lane in trial.lanes if lane.role == role]


def test_a_trial_holds_the_strongest_controls_and_anchors(store, made):
    plan = plan_of(store, clips=[1], k=3)
    (trial,) = plan.trials
    ranks = {m.name: store.scores.read_frame(m.method_id, 1) for m in store.runs.list_methods()}
    unheard = {made.FORBIDDEN, made.MISSING, made.PATHLESS, made.ESCAPING, made.LINKED, made.BROKEN}
    expected = set()
    for frame in ranks.values():
        training = frame[~frame["is_decoy"] & ~frame["track_id"].isin(unheard)]
        expected |= set(training["track_id"].head(3))
    assert set(by_role(trial, "top")) == expected
    assert trial.lanes[0].role == "clip" and len(by_role(trial, "clip")) == 1
    randoms, decoys = by_role(trial, "random"), by_role(trial, "decoy")
    assert len(randoms) == len(decoys) == 2
    assert all(1 <= i <= made.TRACKS for i in randoms) and all(i > made.TRACKS for i in decoys)
    assert not set(randoms) & expected
    assert by_role(trial, "duplicate")[0] in expected and by_role(trial, "match") == [None]
    for lane in trial.pairs:
        assert {score.method for score in lane.scores} == (set() if lane.role == "match" else set(ranks))
        for score in lane.scores:
            row = ranks[score.method].set_index("track_id").loc[lane.track_id]
            assert score.score_norm == row["score_norm"] and score.above_noise == row["above_noise"]
            assert score.place == (None if row["is_decoy"] else row["train_rank"])
    assert plan.store_key == excerpts.identify_store(store)


def test_a_seed_draws_the_same_pairs_again(store):
    one, same, other = (plan_of(store, seed) for seed in (3, 3, 4))
    assert one == same and one != other and one.settings["seed"] == 3


def test_what_may_not_be_heard_is_left_out_and_told(store, made):
    plan = plan_of(store, clips=[1], methods=["cosine"], k=20, random=10, decoys=10, duplicate=False)
    ids = {lane.track_id for lane in plan.trials[0].pairs}
    unheard = {made.FORBIDDEN, made.MISSING, made.PATHLESS, made.ESCAPING, made.LINKED, made.BROKEN}
    assert not ids & unheard
    ranks = store.scores.read_frame(2, 1)
    last = max(lane.scores[0].place for lane in plan.trials[0].lanes if lane.role == "top")
    above = ranks[ranks["track_id"].isin(unheard) & (ranks["train_rank"] < last)]
    assert len(above) and any("cannot be heard" in text for text in plan.settings["left_out"])


def test_excerpts_are_equal_in_length_rate_and_loudness(store, tmp_path):
    file = SessionFile(tmp_path / "s.sqlite")
    try:
        session = file.add_session(plan_of(store, starts="anywhere"))
        for trial in file.read_trials(session.session_id):
            loud, heads = [], set()
            for lane in trial.lanes:
                excerpt = file.find_excerpt(session.session_id, lane.token)
                data = excerpts.render_excerpt(store, excerpt, lane.token)
                assert data == excerpts.render_excerpt(store, excerpt, lane.token)
                sound, rate = soundfile.read(io.BytesIO(data), always_2d=True)
                heads.add((rate, sound.shape, data[:44], len(data)))
                loud.append(pyloudnorm.Meter(rate).integrated_loudness(sound))
                assert np.abs(sound).max() < 1.0
            assert len(heads) == 1 and max(loud) - min(loud) < 0.2
            starts = {lane.start_s for lane in trial.lanes}
            assert len(starts) > 2  # drawn, not all at the beginning
    finally:
        file.close()


def test_two_lanes_of_one_track_are_not_the_same_bytes_but_the_same_sound(store, tmp_path):
    file = SessionFile(tmp_path / "s.sqlite")
    try:
        session = file.add_session(plan_of(store, clips=[1]))
        (trial,) = file.read_trials(session.session_id)
        twin = next(lane for lane in trial.lanes if lane.role == "duplicate")
        pair = [lane for lane in trial.lanes if lane.track_id == twin.track_id]
        assert len(pair) == 2
        pair_of_clip = [lane for lane in trial.lanes if lane.track_id is None]
        for one, other in (pair, pair_of_clip):
            data = [
                excerpts.render_excerpt(store, file.find_excerpt(session.session_id, x.token), x.token)
                for x in (one, other)
            ]
            sounds = [soundfile.read(io.BytesIO(x), dtype="int16")[0].astype(int) for x in data]
            assert data[0] != data[1] and np.abs(sounds[0] - sounds[1]).max() <= 2
    finally:
        file.close()


def test_rules_are_asked_again_when_a_lane_is_heard(store, made, tmp_path):
    from dataclasses import replace

    file = SessionFile(tmp_path / "s.sqlite")
    try:
        session = file.add_session(plan_of(store, clips=[1]))
        lane = file.read_trials(session.session_id)[0].pairs[0]
        excerpt = file.find_excerpt(session.session_id, lane.token)
    finally:
        file.close()
    for changes, status in (
        ({"track_id": made.FORBIDDEN}, 403),
        ({"track_id": made.ESCAPING}, 404),
        ({"track_id": made.BROKEN}, 404),
        ({"track_id": made.EXCERPT, "start_s": 14.0}, 403),  # beyond the 15 s that may be heard
        ({"store_key": "another"}, 409),
    ):
        with pytest.raises(SoundRefusedError) as caught:
            excerpts.render_excerpt(store, replace(excerpt, **changes), lane.token)
        assert caught.value.status == status


def test_near_silent_sound_is_no_candidate(store, tmp_path):
    from explorer.store.records import SoundRecord

    quiet = store.path.parent / "audio" / "hush.wav"
    soundfile.write(quiet, 1e-4 * np.sin(np.arange(22050 * 2) / 9), 22050)
    try:
        with pytest.raises(SoundRefusedError, match="near-silent"):
            excerpts.measure_excerpt(store, SoundRecord(2.0, "hush.wav", False, "full", None, None, ()), 0.0, 1.5)
    finally:
        quiet.unlink()


def test_gains_bring_all_to_one_loudness_below_full_scale():
    loud, quiet = excerpts.ExcerptLevels(-9.0, -0.5, 1), excerpts.ExcerptLevels(-30.0, -2.0, 2)
    one, two = excerpts.match_gains([loud, quiet])
    assert -9.0 + one == pytest.approx(-30.0 + two)
    assert -2.0 + two <= -excerpts.HEADROOM_DB + 1e-9 and -0.5 + one < 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 121}, "title"),
        ({"clips": []}, "clips"),
        ({"clips": [101]}, "clips"),  # a control: its target would be heard twice
        ({"clips": [1, 1]}, "clips"),
        ({"clips": "1"}, "clips must be a list"),
        ({"methods": ["magic"]}, "methods"),
        ({"questions": []}, "questions"),
        ({"questions": ["beauty"]}, "questions"),
        ({"k": -1}, "k must be"),
        ({"k": True}, "k must be"),
        ({"random": 11}, "random must be"),
        ({"decoys": 1.5}, "decoys must be"),
        ({"seconds": 0.5}, "seconds"),
        ({"seconds": float("nan")}, "seconds"),
        ({"blind": "yes"}, "on or off"),
        ({"blind": False}, "hidden anchors"),
        ({"k": 0, "random": 0, "decoys": 0, "duplicate": False}, "nothing to compare"),
        ({"k": 0}, "duplicate repeats"),
        ({"consent": ""}, "consent"),
        ({"more": 1}, "no session"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(store, changes, message):
    with pytest.raises(SessionRefusedError, match=message):
        SessionRequest.parse(wanted(**changes), StoreViews(store))


def test_tracks_shorter_than_an_excerpt_are_no_candidates(store):
    plan = plan_of(store, clips=[3], methods=["unlearning"], seconds=30.0, k=8, random=4, decoys=4)
    (trial,) = plan.trials
    assert trial.seconds == 3.0  # the clip's own length, where that is less
    tracks = [store.tracks.read(lane.track_id) for lane in trial.pairs if lane.track_id is not None]
    assert len(tracks) == 17 and all(track.duration_s >= 3.0 for track in tracks)


def test_the_form_begins_with_a_length_that_most_have(store):
    views = StoreViews(store)
    assert suggest_seconds(views) == 2.0
    assert [clip.clip_id for clip in list_offered_clips(views)] == [1, 2, 3]

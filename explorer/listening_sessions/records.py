"""Records of the sessions file. Times are UTC texts, ISO 8601."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pandas as pd

STATES = ("open", "closed", "revealed")  # ratings are taken while 'open'; a revealed session stays so
ROLES = ("clip", "top", "random", "decoy", "duplicate", "match")
SCALE = (1, 2, 3, 4, 5)
_ALIKE = ("not at all", "very much")

# Name -> (the question, what 1 means, what 5 means).
QUESTIONS = {
    "overall": ("Overall, how much of the track is in the clip?", *_ALIKE),
    "melody": ("Melody: how alike?", *_ALIKE),
    "harmony": ("Harmony: how alike?", *_ALIKE),
    "rhythm": ("Rhythm: how alike?", *_ALIKE),
    "timbre": ("Sound and timbre: how alike?", *_ALIKE),
    "credit": ("If the track were mine, I would want credit.", "disagree", "agree"),
}
CONSENT = (
    "Kept are your nickname, your answers and notes, and when you gave them; no address and nothing about your "
    "browser. They are used to compare methods of attribution, and may be published without the nickname. You can "
    "delete all of it at any time with the button at the foot of this page; the host can too."
)


class SessionRefusedError(ValueError):
    """A request of a host or listener is refused; `status`: HTTP status, message: one line for who asked."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def now() -> str:
    """The present time, in the format of the file."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class LaneScore:
    """Score of a track for the clip of its trial by one method, copied from the store."""

    method: str
    label: str
    score: float
    score_norm: float
    q_value: float | None  # None: not tested
    above_noise: bool
    place: int | None  # among training tracks, 1 = strongest; None for a decoy
    chosen: bool  # among the k strongest of this method
    place_best: int | None = None  # the places that it may hold by its error; None for a decoy, and where ...
    place_worst: int | None = None  # ... the session was made before there were any


@dataclass(frozen=True)
class Lane:
    """One excerpt of a trial."""

    role: str  # one of ROLES
    track_id: int | None  # None: the clip itself
    title: str
    composer: str
    start_s: float
    gain_db: float
    scores: tuple[LaneScore, ...] = ()
    lane_id: int = 0  # 0: not written yet, as for the token
    token: str = ""


@dataclass(frozen=True)
class Trial:
    """A clip and what it is compared with. All excerpts are equally long and have as many channels."""

    clip_id: int
    prompt: str
    seconds: float
    channels: int
    lanes: tuple[Lane, ...]  # the clip first

    @property
    def clip(self) -> Lane:
        """The lane of the clip."""
        return self.lanes[0]

    @property
    def pairs(self) -> tuple[Lane, ...]:
        """The lanes that the clip is compared with."""
        return self.lanes[1:]


@dataclass(frozen=True)
class SessionPlan:
    """A session before it is written."""

    title: str
    blind: bool
    questions: tuple[str, ...]
    consent: str
    store_key: str
    trials: tuple[Trial, ...]
    settings: dict[str, Any] = field(default_factory=dict)  # how the pairs were chosen


@dataclass(frozen=True)
class Session:
    """A session as the file holds it."""

    session_id: int
    code: str
    title: str
    state: str  # one of STATES
    blind: bool
    questions: tuple[str, ...]
    consent: str
    settings: dict[str, Any]
    store_key: str
    created_at: str


@dataclass(frozen=True)
class Listener:
    """One who joined a session."""

    listener_id: int
    session_id: int
    nickname: str
    pairs: tuple[int, ...]  # lane ids in this listener's order


@dataclass(frozen=True)
class LaneExcerpt:
    """All that is needed to render one lane."""

    session_id: int
    store_key: str
    clip_id: int
    track_id: int | None  # None: the clip itself
    start_s: float
    seconds: float
    gain_db: float
    channels: int


@dataclass(frozen=True)
class RatingFrames:
    """Everything that was rated in one session; rows by lane, listener, question.

    lanes: lane_id, clip_id, prompt, role, track_id (nullable Int64), title, composer, start_s. scores: lane_id, method,
    label, score, score_norm, q_value (NaN: not tested), above_noise, place, place_best, place_worst (nullable Int64),
    chosen. ratings: listener_id, nickname, lane_id, question, value 1..5, rated_at. notes: listener_id, nickname,
    lane_id, note.
    """

    session: Session
    lanes: pd.DataFrame
    scores: pd.DataFrame
    ratings: pd.DataFrame
    notes: pd.DataFrame

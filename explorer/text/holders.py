"""Sentences that answer a rights holder's first questions. Pure functions; what is not known is said to be so."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from explorer.sound.permission import EXCERPT_S
from explorer.store.above_noise import FALSE_RATE
from explorer.store.catalogue import SETS, CatalogueTest
from explorer.store.lift import Groups, classify_lift
from explorer.store.records import AuditionCounts, CopiedPassage, Copying, Summary
from explorer.store.resemblance import CLOSE
from explorer.text.claims import ASSUMPTION, RATE
from explorer.text.numbers import format_count, format_error_rate, format_lift, format_percent, format_rate

PLACES_OF = {"10": "first 10 places", "100": "first 100 places", "above": "places above noise"}
ONE_OF = {
    "10": "one of a clip’s first 10 places",
    "100": "one of a clip’s first 100 places",
    "above": "a place above noise",
}
COUNT_LABELS = {"10": "among the first 10", "100": "among the first 100", "above": "above noise"}
LIFT_LABELS = {
    "more": "above chance",
    "maybe more": "above, or lucky",
    "chance": "as by chance",
    "maybe less": "below, or unlucky",
    "less": "below chance",
}
NOTHING_UP = "nothing comes up"
COMES_UP = "Where it comes up"
STANDS_BEST = "Where it stands best, though it does not come up"
WHY_SORTED = (
    "Sorted by the least lift that is believable when all groups are looked at together, not by a raw sum: a sum grows "
    "with the size of a catalogue, and lift alone is won by tiny catalogues that were lucky once."
)

UNLEARN = "Unlearn the whole catalogue"
CATALOGUE_CLAIM = (
    "This is a claim about the catalogue, and about the model’s loss on a clip when all of it is unlearned at once: to "
    "first order, the sum of its tracks’ raw influence scores. It says nothing of any one track, nor what would come "
    "out of a model that never had them."
)


def word_lift_method(groups: Groups, count: str) -> str:
    """Explain how lift and its interval were computed, in one sentence."""
    wider = (
        f", widened {format_rate(groups.dispersion)}-fold in variance because renderings of one work, and "
        "tracks that come up for many clips, come up together"
        if groups.dispersion > 1.005
        else ""
    )
    return (
        f"Lift: how many times as often a group’s tracks hold {ONE_OF[count]} as so many training tracks drawn at "
        f"random would; 1 is chance. Its interval is an exact Poisson interval of that count{wider}."
    )


def word_standouts(groups: Groups) -> str:
    """Say how many groups stand above chance, by themselves and together."""
    alone, together = int((groups.low > 1).sum()), int((groups.sure_low > 1).sum())
    by_itself = f"{alone:,} would by {'itself' if alone == 1 else 'themselves'}, perhaps by luck"
    return (
        f"{together:,} of {format_count(len(groups.name), 'group')} stand{'s' if together == 1 else ''} above chance "
        f"when all are looked at together (Bonferroni); {by_itself}."
    )


def word_group(groups: Groups, row: int, count: str, clips: int) -> list[str]:
    """Say how often one group comes up, how often it would by chance, and how many of its pairs are above noise."""
    hits, tracks = int(groups.hits[row]), int(groups.tracks[row])
    total = f"{PLACES_OF[count]} of {format_count(clips, 'clip')}"
    luck = f"than chance by itself, but among {format_count(len(groups.name), 'group')} one may do so by luck"
    words = {
        "more": "more often than chance",
        "maybe more": f"more often {luck}",
        "chance": "not distinguishable from chance",
        "maybe less": f"less often {luck}",
        "less": "less often than chance",
    }[classify_lift(groups, row)]
    times = {0: "never", 1: "once", 2: "twice"}.get(hits, f"{hits:,} times")
    lift = format_lift(groups.low[row], groups.lift[row], groups.high[row])
    own = format_count(tracks, "training track")
    lines = [
        f"Its {own} {'comes' if tracks == 1 else 'come'} up {times} in the {total}; so many drawn at random: "
        f"{format_rate(groups.expected[row])} times. Lift {lift}: {words}."
        if groups.expected[row] > 0
        else f"Nothing is among the {total}, so there is nothing to compare its {own} with."
    ]
    above = int(groups.above[row])
    lines.append(
        f"Above noise: {format_count(above, 'pair')} of clip and track."
        if above
        else "None of its tracks is above noise for any clip: no place below is evidence of influence by itself."
    )
    if groups.works[row] < tracks:
        works = int(groups.works[row])
        lines.append(
            f"They are renderings of {'one work' if works == 1 else f'{works:,} works'}: those of the same work are "
            "marked, since they tend to come up together."
        )
    return lines


def word_copying(copying: Copying, looked: bool) -> list[str]:
    """Say whether anything is copied: not looked for, not compared, none found, or found."""
    apart = "Copying is judged apart from influence: neither implies the other."
    if not looked:
        return ["Not looked for: this store holds no search for copied passages.", apart]
    if not copying.compared:
        return ["None of these tracks was compared: only tracks near the top of a clip are.", apart]
    pairs = f"{format_count(copying.compared, 'pair')} of clip and track compared"
    if not copying.close:
        return [f"None found among the {pairs}.", apart]
    chance = format_rate(CLOSE * copying.compared)
    return [
        f"{copying.close:,} of the {pairs} run alike as closely as at most {format_percent(CLOSE)} of decoys do; by "
        f"chance about {chance} would. Listen before you conclude.",
        apart,
    ]


def word_group_certainty(
    summaries: Sequence[Summary], controls: tuple[int, int], retrained: bool, above: int | None = None
) -> list[str]:
    """Say how sure this is. `summaries`: of generated clips; `above`: pairs of this group above noise, None for all."""
    lines = []
    if not any(one.decoys for one in summaries):
        lines.append("No decoys were scored, so nothing can be told from noise.")
    else:
        places = 10 * len(summaries)
        high = sum(one.decoys_top10_norm for one in summaries)
        chance = sum(10 * one.decoys / max(1, one.decoys + one.tracks) for one in summaries)
        lines.append(
            f"Decoys, which the model never heard, hold {high:,} of the {places:,} first places "
            f"({chance:,.0f} by chance)."
        )
        if above:
            total = sum(one.above_noise for one in summaries)
            lines.append(f"Of {total:,} pairs above noise in all, {above:,} are of this group.")
        lines.append(
            "Above noise is asked of a clip’s candidates: training tracks of its caption or style, against decoys of "
            f"the same. {RATE}. {ASSUMPTION}"
        )
        if silent := sum(not one.can_tell for one in summaries):
            lines.append(f"For {format_count(silent, 'clip')} the test cannot tell: decoys are too few.")
    own, of = controls
    if of:
        lines.append(
            f"Controls: {own} of {of} tracks that were unlearned themselves find themselves first, as they should."
        )
    lines.append(
        "Training again without tracks was done for this store: its result stands with the method, in the tab Compare."
        if retrained
        else "What training again without these tracks would add: whether the clips come out otherwise, held against "
        "a training without as many other tracks. It was not done here; nothing else tests it, and no error here "
        "covers it."
    )
    return lines


def word_audition(heard: AuditionCounts) -> list[str]:
    """Say how many tracks may be played, and how."""
    rules = (
        (heard.full, "whole"),
        (heard.excerpt, f"the first {EXCERPT_S:.0f} s"),
        (heard.none, "not at all"),
    )
    allowed = ", ".join(f"{format_count(number, 'track')} {how}" for number, how in rules if number) or "no tracks"
    silent = f" The sound of {format_count(heard.silent, 'track')} is not part of this copy." if heard.silent else ""
    return [
        f"By its entry “audition”: {allowed}.{silent}",
        "The server decides, whatever a browser asks; listening sessions and evidence reports keep the same rule.",
    ]


def word_removal(grouping: str | None, name: str | None, store_name: str) -> tuple[list[str], str]:
    """Sentences on removing a group, and the shell's command for it. `name` None: no group was chosen."""
    what = "TRACK …" if name is None or grouping is None else f"--by {shlex.quote(grouping)} --of {shlex.quote(name)}"
    lines = [
        "This drops rows, entries of the run’s index and, with --audio, sound files, in a new version of the store.",
        "The model still contains the music: only training again without it takes it out.",
    ]
    return lines, f"python -m precompute remove {what} --store {shlex.quote(store_name)} --audio"


def word_catalogue(test: CatalogueTest, clips: int) -> list[str]:
    """Say what unlearning a whole catalogue would do to the model's loss on the generated clips, and how that is known.

    `clips`: how many generated clips were scored.
    """
    tracks = format_count(test.tracks, "track")
    if test.effect is None:
        why = (
            f"has {tracks}, more than half as many as the {test.decoys:,} decoys that it would be compared with"
            if test.decoys
            else "can be compared with no decoys: none were scored"
        )
        return [f"Cannot tell: this catalogue {why}.", CATALOGUE_CLAIM]
    above = int(test.effect.above_noise.sum())
    which = f"{above:,} of {format_count(clips, 'generated clip')}" if above else f"none of {clips:,} generated clips"
    many = "as many decoys" if test.tracks > 1 else "one decoy"
    first = (
        f"For {which} unlearning the whole catalogue ({tracks}) would raise the model’s loss by more than unlearning "
        f"{many} at random (q ≤ {FALSE_RATE:.2f}: at most {format_percent(FALSE_RATE)} of such findings are expected "
        "to be false)."
    )
    drawn = (
        "with as many of each collection as the catalogue has"
        if test.by_collection
        else "of any collection, since its own have too few decoys"
    )
    how = (
        f"Each sum is compared with those of {SETS} random sets of {tracks}, drawn from the catalogue and "
        f"{format_count(test.decoys, 'decoy')} together, {drawn}: were the catalogue like decoys, it would be one such "
        "set among others, which is the one assumption here. p: how often such a set has as large a sum; q: "
        "Benjamini–Hochberg over the clips."
    )
    return [first, CATALOGUE_CLAIM, how]


def word_no_holders(grouping: str) -> str:
    """Why tracks are grouped otherwise in a store without rights holders."""
    return f"This store names no rights holders, so its tracks are grouped by {grouping}."


def word_one_holder(grouping: str, share: float) -> str:
    """Why tracks are grouped otherwise where one rights holder has the `share` of all tracks."""
    return (
        f"One rights holder, or none at all (“public domain”), stands for {format_percent(share)} of these tracks, so "
        f"they are grouped by {grouping}."
    )


def word_passage(passage: CopiedPassage, title: str) -> str:
    """Where a passage lies in clip and track, and its p-value."""
    moved = f", moved by {passage.semitones:+d} semitones" if passage.semitones else ""
    (clip_from, clip_to), (track_from, track_to) = passage.clip, passage.track
    return (
        f"clip {passage.clip_id}, {clip_from:.1f}–{clip_to:.1f} s: “{title}”, "
        f"{track_from:.1f}–{track_to:.1f} s{moved} (p {format_error_rate(passage.p_value)})"
    )

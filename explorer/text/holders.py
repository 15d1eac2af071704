"""What a rights holder asks first -> sentences. Pure functions; no gradio. What is not known is said to be so."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from explorer.sound.audio import EXCERPT_S
from explorer.store.catalogue import CLOSE, Copying, Heard
from explorer.store.groups import Groups, standing
from explorer.store.ranking import Q_LIMIT
from explorer.store.records import Summary
from explorer.text.sentences import caution, percent

PLACES_OF = {"10": "first 10 places", "100": "first 100 places", "above": "places above noise"}
ONE_OF = {
    "10": "one of a clip’s first 10 places",
    "100": "one of a clip’s first 100 places",
    "above": "a place above noise",
}
WHY_SORTED = (
    "Sorted by the least lift that is believable when all groups are looked at together, not by a raw sum: a sum grows "
    "with the size of a catalogue, and lift alone is won by tiny catalogues that were lucky once."
)


def counted(number: int, noun: str) -> str:
    """'1 track', '12 tracks'."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def lift_text(low: float, lift: float, high: float) -> str:
    """'1.5 (1.0–2.1)'."""
    return f"{_fine(lift)} ({_fine(low)}–{_fine(high)})" if high < 1e9 else "not known"


def _fine(value: float) -> str:
    """Two decimals, so that the side of 1 on which an end lies can be seen."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2f}"


def short(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.95 else f"{value:.2f}"


def method_of_lift(groups: Groups, count: str) -> str:
    """How lift and its interval came about, in one sentence."""
    wider = (
        f", widened {short(groups.dispersion)}-fold in variance because renderings of one work, and tracks that come "
        f"up "
        "for many clips, come up together"
        if groups.dispersion > 1.005
        else ""
    )
    return (
        f"Lift: how many times as often a group’s tracks hold {ONE_OF[count]} as so many training tracks drawn at "
        f"random would; 1 is chance. Its interval is an exact Poisson interval of that count{wider}."
    )


def stands_out(groups: Groups) -> str:
    """How many groups stand above chance, by themselves and together."""
    alone, together = int((groups.low > 1).sum()), int((groups.sure_low > 1).sum())
    by_itself = f"{alone:,} would by {'itself' if alone == 1 else 'themselves'}, perhaps by luck"
    return (
        f"{together:,} of {counted(len(groups.name), 'group')} stand{'s' if together == 1 else ''} above chance when "
        f"all "
        f"are looked at together (Bonferroni); {by_itself}."
    )


def result(groups: Groups, row: int, count: str, clips: int) -> list[str]:
    """What was found for one group: how often, against how often by chance, and what of it is above noise."""
    hits, tracks = int(groups.hits[row]), int(groups.tracks[row])
    total = f"{PLACES_OF[count]} of {counted(clips, 'clip')}"
    luck = f"than chance by itself, but among {counted(len(groups.name), 'group')} one may do so by luck"
    words = {
        "more": "more often than chance",
        "maybe more": f"more often {luck}",
        "chance": "not distinguishable from chance",
        "maybe less": f"less often {luck}",
        "less": "less often than chance",
    }[standing(groups, row)]
    times = {0: "never", 1: "once", 2: "twice"}.get(hits, f"{hits:,} times")
    lift = lift_text(groups.low[row], groups.lift[row], groups.high[row])
    lines = [
        f"Its {counted(tracks, 'training track')} {'comes' if tracks == 1 else 'come'} up {times} in the {total}; so "
        f"many "
        f"drawn at random: {short(groups.expected[row])} times. Lift {lift}: {words}."
        if groups.expected[row] > 0
        else f"Nothing is among the {total}, so there is nothing to compare its {counted(tracks, 'training track')} "
        f"with."
    ]
    above = int(groups.above[row])
    lines.append(
        f"Above noise: {counted(above, 'pair')} of clip and track."
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


def copied(copying: Copying, looked: bool) -> list[str]:
    """Is anything copied? Not looked for, not compared, none found, or found."""
    apart = "Copying is judged apart from influence: neither implies the other."
    if not looked:
        return ["Not looked for: this store holds no search for copied passages.", apart]
    if not copying.compared:
        return ["None of these tracks was compared: only tracks near the top of a clip are.", apart]
    pairs = f"{counted(copying.compared, 'pair')} of clip and track compared"
    if not copying.close:
        return [f"None found among the {pairs}.", apart]
    chance = short(CLOSE * copying.compared)
    return [
        f"{copying.close:,} of the {pairs} run alike as closely as at most {percent(CLOSE)} of decoys do; by chance "
        f"about "
        f"{chance} would. Listen before you conclude.",
        apart,
    ]


def sure(
    summaries: Sequence[Summary], controls: tuple[int, int], retrained: bool, above: int | None = None
) -> list[str]:
    """How sure? `summaries`: of the generated clips; `above`: pairs of this group above noise, None for all."""
    lines = []
    if not any(one.decoys for one in summaries):
        lines.append("No decoys were scored, so nothing can be told from noise.")
    else:
        places = 10 * len(summaries)
        found = sum(one.decoys_top10_norm for one in summaries)
        chance = sum(10 * one.decoys / max(1, one.decoys + one.tracks) for one in summaries)
        if told := caution(summaries):
            lines.append(told)
        lines.append(
            f"Decoys, which the model never heard, hold {found:,} of the {places:,} first places ({chance:,.0f} by "
            f"chance)."
        )
        if above:
            total = sum(one.above_noise for one in summaries)
            lines.append(f"Of {total:,} pairs above noise in all, {above:,} are of this group.")
        lines.append(
            f"Above noise means: of all tracks that stand so high, at most {percent(Q_LIMIT)} are expected to be false "
            "(q), and the score is above two standard errors."
        )
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


def played(heard: Heard) -> list[str]:
    """What may be played?"""
    rules = (
        (heard.full, "whole"),
        (heard.excerpt, f"the first {EXCERPT_S:.0f} s"),
        (heard.none, "not at all"),
    )
    told = ", ".join(f"{counted(number, 'track')} {how}" for number, how in rules if number) or "no tracks"
    silent = f" The sound of {counted(heard.silent, 'track')} is not part of this copy." if heard.silent else ""
    return [
        f"By its entry “audition”: {told}.{silent}",
        "The server decides, whatever a browser asks; listening sessions and evidence reports keep the same rule.",
    ]


def taken_out(grouping: str | None, name: str | None, store_name: str) -> tuple[list[str], str]:
    """Sentences, and the command, for a shell. `name` None: no group was chosen."""
    what = "TRACK …" if name is None or grouping is None else f"--by {shlex.quote(grouping)} --of {shlex.quote(name)}"
    lines = [
        "This drops rows, entries of the run’s index and, with --audio, sound files, in a new version of the store.",
        "The model still contains the music: only training again without it takes it out.",
    ]
    return lines, f"python -m precompute remove {what} --store {shlex.quote(store_name)} --audio"

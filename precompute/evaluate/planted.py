"""A method judged by known truths: weighted tracks against their twins, a rare style, exemplars.

Beside the method stand the cosine of CLAP audio embeddings (a listener's guess: it knows the sound and not the model)
and the expectation of a random ranking. Every score is told raw and normalised over the run's cohort, CLAP's too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from precompute import rows as results
from precompute.cache import Cache
from precompute.calibrate import ranks
from precompute.clips import Prompt, read_prompts
from precompute.config import RunConfig
from precompute.corpus import Track, read_manifest
from precompute.engine import noise_bank, preconditioner
from precompute.errors import UserError
from precompute.evaluate import truths
from precompute.evaluate.result import Row, table, write_result
from precompute.evaluate.scoring import build_method, concatenated, contents, score_clips
from precompute.fisher import evenly
from precompute.methods.base import Method
from precompute.model import Items, Model
from precompute.normalisation import Normalisation
from precompute.stages import Corpus, generated, load_cohort, load_corpus, load_latents, load_model
from precompute.train import exemplars as made
from precompute.train.diffusion import mean_loss
from precompute.train.lora import apply

PLANTED_SEED, EXEMPLAR_SEED = 2_000_000, 2_500_000  # starting noise, apart from prompts, cohort and checks
EXEMPLAR_COHORT, EXEMPLAR_REPLICATES = 16, 2  # clips, and replicates of the bank, for each exemplar's own pass
COLUMNS = ("truth", "method", "score", "name", "value", "low", "high")
REUSED = "the preconditioner is that of the untuned weights"


def evaluate_planted(
    config: RunConfig,
    out: Path,
    method_name: str = "unlearning",
    seeds: int = 4,
    exemplars: Path | None = None,
    exemplar_clips: int = 2,
) -> dict[str, Any]:
    """Judge one method, print a table, write JSON to `out`; what was written.

    weighted: share of (pair, seed) in which the weighted track is above its twin, for `seeds` clips of their caption.
    rare: how many rare tracks stand among the 10 best training tracks of a clip of their caption; success = at least 3
    in all seeds but one. exemplars (a folder of `make_exemplars`): rank of the exemplar among all training tracks and
    itself, for clips of the tuned weights; scores are of the tuned weights too, with half-size bank and cohort, but
    under the preconditioner of the untuned ones: a Fisher pass costs minutes, and the weights hardly move. Raises
    UserError where the corpus has none of these cases or an exemplar is of other weights.
    """
    if seeds < 1 or exemplar_clips < 1:
        raise UserError("evaluate planted: seeds and exemplar clips must be at least 1")
    cache = Cache(Path(config.output.work) / "cache")
    corpus, model = load_corpus(config), load_model(config)
    pairs, rare = truths.find_pairs(corpus.tracks), truths.find_rare(corpus.tracks)
    files = sorted(exemplars.glob("exemplar-*.safetensors")) if exemplars else []
    if exemplars and not files:
        raise UserError(f"{exemplars}: no exemplars here; make them first, or leave them out")
    if not pairs and not rare.any() and not files:
        raise UserError("evaluate planted: the corpus has no weighted and no rare tracks, and there are no exemplars")
    loaded = [made.load(path, model) for path in files]  # a file of other weights is told before the long pass

    items, key = load_latents(model, corpus, config, cache)
    trained = [row for row, track in enumerate(corpus.tracks) if not track.is_decoy]
    judge = _Judge(
        config=config,
        cache=cache,
        model=model,
        method=build_method(method_name, config, len(trained)),
        inverse_fisher=preconditioner(model, items[trained], config, cache, key),
        cohort=load_cohort(model, corpus, config, cache),
        embeddings=made.cached_embeddings(model, items, cache, key) if model.clap else None,
    )
    found: list[Row] = []
    cases: dict[str, list[Row]] = {}
    prompts = _prompts(corpus.tracks, pairs, rare, seeds, config, model.sample_size / model.sample_rate)
    if prompts:
        scores = judge.corpus(prompts, items, corpus.tracks)
        of_pairs = truths.clips_only(scores, slice(len(pairs) * seeds))
        of_rare = truths.clips_only(scores, slice(len(pairs) * seeds, None))
        if pairs:
            bank = noise_bank(config.bank)
            losses = np.array([[mean_loss(model, items[[row]], bank) for row in (p.weighted, p.twin)] for p in pairs])
            found += [*truths.loss_rows(losses), *truths.weighted_rows(of_pairs, pairs, seeds)]
            cases["weighted"] = truths.weighted_cases(of_pairs, pairs, seeds, losses, corpus.tracks)
        if rare.any():
            found += truths.rare_rows(truths.tracks_only(of_rare, np.array(trained)), rare[trained])
    if loaded:
        cases["exemplars"] = [
            judge.exemplar(exemplar, exemplar_clips, items[trained], corpus, trained) for exemplar in loaded
        ]
        found += truths.exemplar_rows(cases["exemplars"], len(trained) + 1)
    print(table(found, COLUMNS), flush=True)
    return write_result(
        out,
        f"{method_name} judged by planted truths; exemplars: {REUSED}",
        "python -m precompute evaluate planted",
        str(model.device),
        found,
        settings={**judge.method.record(), "bank": vars(config.bank), "cohort": len(judge.cohort), "seeds": seeds},
        model_sha256=model.sha256,
        cases=cases,
    )


def _prompts(
    tracks: Sequence[Track], pairs: list[truths.Pair], rare: np.ndarray, seeds: int, config: RunConfig, longest: float
) -> list[Prompt]:
    """Clips to judge by: `seeds` of each pair's caption, then `seeds` of the rare tracks' most common one.

    Lengths are the weighted track's, and that of the run's prompt with the rare caption (else the rare tracks' median).
    """
    asked = [(tracks[p.weighted].caption, tracks[p.weighted].duration_s) for p in pairs]
    if rare.any():
        caption, usual = truths.rare_caption(tracks, rare)
        shown = [p.seconds for p in read_prompts(Path(config.clips.prompts)) if p.text == caption]
        asked.append((caption, shown[0] if shown else usual))
    return [
        Prompt(0, caption, min(seconds, longest), PLANTED_SEED + k) for caption, seconds in asked for k in range(seeds)
    ]


# -- scoring -----------------------------------------------------------------------------------------------------


def clap_scores(clips: torch.Tensor, tracks: torch.Tensor) -> np.ndarray:
    """The baseline: cosine of CLAP audio embeddings [Q, E], [N, E] of length 1 -> [Q, N] float64 in [-1, 1]."""
    return (clips.double() @ tracks.double().T).numpy()


@dataclass(frozen=True)
class _Judge:
    """What all passes over the tracks share."""

    config: RunConfig
    cache: Cache
    model: Model
    method: Method
    inverse_fisher: torch.Tensor  # [P], of the untuned weights
    cohort: Items  # [K]
    embeddings: torch.Tensor | None  # [N, E] of the corpus's tracks; None without a CLAP

    def corpus(self, prompts: list[Prompt], items: Items, tracks: Sequence[Track]) -> truths.ByMethod:
        """Clips of the prompts, scored against all tracks and decoys in one pass."""
        clips = generated(self.model, prompts, self.config, self.cache, "planted clips")
        return self._scores(clips, self.cohort, items, tracks, self.embeddings, self.config)

    def exemplar(self, exemplar: made.Exemplar, count: int, items: Items, corpus: Corpus, trained: list[int]) -> Row:
        """One exemplar among the training tracks `items`, with the tuned weights in the model: its ranks by method.

        A track's usual score is taken over clips of the untuned model, scored by the tuned weights.
        """
        track = _decoy(self.config, exemplar.track_id)
        own, own_key = load_latents(self.model, Corpus([track], corpus.root), self.config, self.cache)
        tracks = [corpus.tracks[row] for row in trained] + [replace(track, split="train", planted="exemplar")]
        embeddings = None
        if self.embeddings is not None:
            ours = made.cached_embeddings(self.model, own, self.cache, own_key)
            embeddings = torch.cat([self.embeddings[trained], ours])
        cohort = self.cohort[evenly(len(self.cohort), EXEMPLAR_COHORT)]
        small = replace(self.config, bank=replace(self.config.bank, replicates=EXEMPLAR_REPLICATES))
        prompts = [Prompt(0, exemplar.caption, exemplar.seconds, EXEMPLAR_SEED + k) for k in range(count)]
        print(f"exemplar {exemplar.track_id}: {exemplar.caption}", flush=True)
        with apply(self.model, exemplar.pairs):
            clips = generated(self.model, prompts, self.config, self.cache, "exemplar clips")
            scores = self._scores(clips, cohort, concatenated([items, own]), tracks, embeddings, small)
        places = {
            name: {kind: ranks(values)[:, -1].tolist() for kind, values in both.items()}
            for name, both in scores.items()
        }
        record = {name: value for name, value in vars(exemplar).items() if name != "pairs"}
        return {**record, "ranks": places}

    def _scores(
        self,
        clips: Items,
        cohort: Items,
        items: Items,
        tracks: Sequence[Track],
        embeddings: torch.Tensor | None,
        config: RunConfig,
    ) -> truths.ByMethod:
        """[Q, N] by method and kind of score."""
        found = score_clips(self.model, self.method, clips, cohort, items, self.inverse_fisher, config, self.cache)
        calibrated = results.calibrated(found.cells, found.cohort, tracks)
        scores = {self.method.name: {"raw": calibrated.score, "normalised": calibrated.score_norm}}
        if embeddings is not None:
            raw, usual = (
                clap_scores(made.cached_embeddings(self.model, part, self.cache, contents(part)), embeddings)
                for part in (clips, cohort)
            )
            is_train, is_decoy, _ = results.masks(tracks)
            scores["clap"] = {"raw": raw, "normalised": Normalisation.fit(usual, is_train, is_decoy)(raw)}
        return scores


def _decoy(config: RunConfig, track_id: int) -> Track:
    """A track by its id, whether or not the run scores it: a run may thin its decoys."""
    for track in read_manifest(Path(config.corpus.manifest)):
        if track.track_id == track_id:
            return track
    raise UserError(f"exemplar {track_id}: {config.corpus.manifest} has no such track")

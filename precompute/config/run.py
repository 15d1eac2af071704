"""The config of a run: a frozen dataclass for each section, which checks its own values. Needs no torch.

Paths in a config are relative to the folder that the command runs in.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any

from precompute.config.methods import METHOD_SETTINGS
from precompute.config.reading import LATER, list_values, name_file, name_place, read_settings, read_toml
from precompute.config.retraining import RetrainingSection
from precompute.errors import need

NO_WINDOWS_S = 1e6  # longer than any clip: one window
RESULTS = 3  # count up when a stage computes or keeps its result otherwise: old caches are then left alone
LAYERS = ("to_kv", "cross_attn", "self_attn", "all")
MASKS = ("none", "mixed", "dual")
SAMPLERS = ("ddim", "dpmpp-2m")
CLIP_FORMATS = ("flac", "mp3")
PRECISIONS = ("fp32", "bf16")
ATTENTIONS = ("auto", "fused", "plain")


@dataclass(frozen=True)
class CorpusSection:
    """Where the training tracks are: a manifest (with decoys) or a folder of audio (without)."""

    manifest: str = ""
    folder: str = ""
    latents: str = ""  # .npz of fp16 latents by track_id, for tracks that ship without audio
    decoys: int = 0  # how many decoys that match a track to score, spread evenly; 0 = all
    caption_decoys: int = 0  # how many of each caption, of decoys that match a caption and no track; 0 = all
    windows: int = 4  # of a file that is longer than the model hears at once: at most so many, spread evenly

    def __post_init__(self) -> None:
        need(self.windows >= 1, f"[corpus] windows = {self.windows}: must be at least 1")
        need(bool(self.manifest) != bool(self.folder), "[corpus] needs either manifest or folder, and not both")
        need(self.decoys >= 0, f"[corpus] decoys = {self.decoys}: must be 0 (all) or more")
        need(self.caption_decoys >= 0, f"[corpus] caption_decoys = {self.caption_decoys}: must be 0 (all) or more")


@dataclass(frozen=True)
class ModelSection:
    """A stable-audio-tools model and, where its prompt is a CLAP embedding, the CLAP's folder."""

    config: str = ""
    checkpoint: str = ""  # .safetensors, or .ckpt (read without running code from it)
    name: str = ""  # in place of both: a published model, "stable-audio-open-1.0" or any "owner/name" of the hub
    clap: str = ""
    device: str = "cpu"

    def __post_init__(self) -> None:
        local = bool(self.config) and bool(self.checkpoint)
        either = local != bool(self.name) and not (self.name and (self.config or self.checkpoint))
        need(either, "[model] needs either config and checkpoint, or name, and not both")


@dataclass(frozen=True)
class ClipsSection:
    """The clips: what is generated, self-influence targets, and the normalisation cohort."""

    prompts: str = ""  # CSV with columns clip_id, prompt, seconds, seed
    audio: str = ""  # a file or a folder: clips of your own, beside the generated ones or in place of them
    steps: int = 50  # of the sampler
    guidance: float = 4.0
    sampler: str = "ddim"
    targets: int = 16  # training tracks unlearned themselves; each should find itself
    cohort: int = 48  # further clips, not shown, that say what is usual for a track

    def __post_init__(self) -> None:
        need(bool(self.prompts or self.audio), "[clips] needs prompts, audio, or both")
        need(self.sampler in SAMPLERS, f"[clips] sampler = {self.sampler!r}: choose one of {', '.join(SAMPLERS)}")
        need(self.steps >= 1, f"[clips] steps = {self.steps}: must be at least 1")
        need(self.targets >= 0, f"[clips] targets = {self.targets}: must be 0 or more")
        need(self.cohort >= 2, f"[clips] cohort = {self.cohort}: normalisation needs at least 2 clips")


@dataclass(frozen=True)
class BankSection:
    """The noise bank under which tracks are scored: replicates x strata cells, one backward each."""

    replicates: int = 4
    strata: int = 4
    draws_per_cell: int = 1
    seed: int = 303
    t_low: float = 0.0  # least t of the tracks' draws: 0 = nearly clean, 1 = noise alone
    # share of the draws without caption: 0 = none; training leaves out a tenth or so
    uncaptioned: float = field(default=0.0, metadata=LATER)

    def __post_init__(self) -> None:
        need(self.replicates >= 2, f"[bank] replicates = {self.replicates}: a standard error needs at least 2")
        need(self.strata >= 1, f"[bank] strata = {self.strata}: must be at least 1")
        need(self.draws_per_cell >= 1, f"[bank] draws_per_cell = {self.draws_per_cell}: must be at least 1")
        need(0 <= self.t_low < 1, f"[bank] t_low = {self.t_low}: must be from 0 to below 1")
        need(0 <= self.uncaptioned <= 1, f"[bank] uncaptioned = {self.uncaptioned}: must be from 0 to 1")


@dataclass(frozen=True)
class FisherSection:
    """Diagonal Fisher information of the training loss."""

    draws: int = 4  # per track: one in each stratum of t
    damping: float = 0.1  # of the mean Fisher, added to the diagonal
    tracks: int = 0  # how many training tracks to average over; 0 = all
    # least t of its draws; a file that does not say takes that of [bank], the tracks'
    t_low: float = field(default=0.0, metadata=LATER)
    seed: int = 101

    def __post_init__(self) -> None:
        need(self.draws >= 1, f"[fisher] draws = {self.draws}: must be at least 1")
        need(self.damping > 0, f"[fisher] damping = {self.damping}: must be above 0")
        need(0 <= self.t_low < 1, f"[fisher] t_low = {self.t_low}: must be from 0 to below 1")


@dataclass(frozen=True)
class UnlearningSection:
    """The unlearning step."""

    layers: str = "all"  # layer group of the transformer
    mask: str = "mixed"
    learning_rate: float = 1e-6  # alpha; with one step it scales every score alike
    ascent_draws: int = 32  # draws of the clip's gradient, halved for the standard error
    window_s: float = 1.0  # of the clip, for influence over time in the clip
    seed: int = 202  # of the ascent draws: independent of the scoring bank
    t_low: float = 0.0  # least t of the clip's draws; a file that does not say takes that of [bank], the tracks'
    # share of the clip's draws without caption; a file that does not say takes that of [bank]
    uncaptioned: float = field(default=0.0, metadata=LATER)
    steps: int = 1  # 1 ... k
    pull_back: bool = True  # towards the weights as trained, in further steps
    relative_step: float = 0.0  # length of the first step / the weights'; 0 = learning_rate says how far a step goes
    normalise_timesteps: bool = False  # every draw's gradient is scaled to length 1

    def __post_init__(self) -> None:
        need(self.layers in LAYERS, f"[unlearning] layers = {self.layers!r}: choose one of {', '.join(LAYERS)}")
        need(self.mask in MASKS, f"[unlearning] mask = {self.mask!r}: choose one of {', '.join(MASKS)}")
        need(self.learning_rate > 0, f"[unlearning] learning_rate = {self.learning_rate}: must be above 0")
        even = self.ascent_draws >= 2 and self.ascent_draws % 2 == 0
        need(even, f"[unlearning] ascent_draws = {self.ascent_draws}: must be even and at least 2")
        need(0 <= self.t_low < 1, f"[unlearning] t_low = {self.t_low}: must be from 0 to below 1")
        need(0 <= self.uncaptioned <= 1, f"[unlearning] uncaptioned = {self.uncaptioned}: must be from 0 to 1")
        need(self.window_s > 0, f"[unlearning] window_s = {self.window_s}: must be above 0")
        need(self.steps >= 1, f"[unlearning] steps = {self.steps}: must be at least 1")
        need(self.relative_step >= 0, f"[unlearning] relative_step = {self.relative_step}: must be 0 or more")


@dataclass(frozen=True)
class MethodsSection:
    """The methods to run, and the settings of each that has a section `[methods.NAME]`."""

    run: tuple[str, ...] = ("unlearning",)  # in the order of their ids in the store
    default: str = "unlearning"  # which of them the page opens with; a file that does not say: the first of `run`
    settings: dict[str, Any] = field(default_factory=dict)  # by name; what is absent has its defaults

    @classmethod
    def read(cls, table: Any) -> MethodsSection:
        """From section [methods]. Raises UserError naming an unknown method or a bad field."""
        need(isinstance(table, dict), "[methods] must be a section")
        known = ", ".join(METHOD_SETTINGS)
        run = table.get("run", list(cls.run))
        need(isinstance(run, list) and bool(run), '[methods] run: must be a list of methods, such as ["unlearning"]')
        default = table.get("default", "")
        sections = [key for key in table if key not in ("run", "default")]
        for name in [*run, *sections]:
            need(name in METHOD_SETTINGS, f"[methods] {name!r}: unknown method; known are {known}")
        need(len(set(run)) == len(run), "[methods] run: a method stands twice")
        need(default in ("", *run), f"[methods] default = {default!r}: must be one of the methods in run")
        read = {}
        for name in sections:
            values = table[name]
            need(METHOD_SETTINGS[name] is not None, f"[methods.{name}]: its settings stand in section [unlearning]")
            need(isinstance(values, dict), f"[methods] {name}: must be a section [methods.{name}]")
            with name_place(f"[methods.{name}]"):
                read[name] = read_settings(METHOD_SETTINGS[name], values)
        return cls(tuple(run), default or run[0], read)


@dataclass(frozen=True)
class PassSection:
    """Computation of the tracks' gradients. Only `precision` may change a score."""

    precision: str = "fp32"  # bf16: forward passes of tracks under autocast; clips' gradients stay fp32
    memory_gb: float = 8.0  # of one process, beside the model: gradients of tracks and directions of clips
    shard_tracks: int = 16  # tracks a cache entry: what a killed pass loses at most; other sizes are computed anew
    attention: str = "auto"  # what torch chooses; fused: never the plain one (GPU); plain: never a fused one
    compile: bool = False  # torch.compile the network: pays on a GPU, after a minute or two at the start

    def __post_init__(self) -> None:
        for name, known in (("precision", PRECISIONS), ("attention", ATTENTIONS)):
            need(getattr(self, name) in known, f"[pass] {name} = {getattr(self, name)!r}: choose {' or '.join(known)}")
        need(self.memory_gb > 0, f"[pass] memory_gb = {self.memory_gb}: must be above 0")
        need(self.shard_tracks >= 1, f"[pass] shard_tracks = {self.shard_tracks}: must be at least 1")


@dataclass(frozen=True)
class MomentsSection:
    """Influence over time in the track, by forward mode."""

    tracks: int = 10  # best-ranked training tracks of each generated clip
    rate_hz: float = 4.5  # at least; frames are averaged down to it

    def __post_init__(self) -> None:
        need(self.rate_hz > 0, f"[moments] rate_hz = {self.rate_hz}: must be above 0")


@dataclass(frozen=True)
class OutputSection:
    """The files that a run writes."""

    store: str  # published by rename
    clips: str  # folder for the generated clips' audio
    work: str = "data/work/run"  # caches; may be deleted at any time
    note: str = ""  # shown on the page beside the scores
    clip_format: str = "flac"  # of the generated clips' audio: "flac", or "mp3" at an eighth of the bytes
    evaluations: str = "assets/benchmarks"  # folder of what `evaluate` kept; results on this model go into the store

    def __post_init__(self) -> None:
        known = ", ".join(CLIP_FORMATS)
        need(self.clip_format in CLIP_FORMATS, f"[output] clip_format = {self.clip_format!r}: choose one of {known}")


@dataclass(frozen=True)
class ExemplarsSection:
    """Clips of the model tuned on exemplars: generated and attributed in a pass of its own, with fewer draws."""

    update: str = ""  # file of the update, as `train-exemplars` makes it; empty = no such pass
    clips: int = 1  # of each exemplar's caption, each from a seed of its own
    cohort: int = 24  # further clips of the tuned model, not shown, that say what is usual for a track
    replicates: int = 4  # of the noise bank; its seed and t_low are those of [bank]
    strata: int = 4
    draws_per_cell: int = 1
    ascent_draws: int = 16  # of a clip's gradient, halved for the standard error

    def __post_init__(self) -> None:
        need(self.clips >= 1, f"[exemplars] clips = {self.clips}: must be at least 1")
        need(self.cohort >= 2, f"[exemplars] cohort = {self.cohort}: normalisation needs at least 2 clips")
        need(self.replicates >= 2, f"[exemplars] replicates = {self.replicates}: a standard error needs at least 2")
        need(self.strata >= 1, f"[exemplars] strata = {self.strata}: must be at least 1")
        need(self.draws_per_cell >= 1, f"[exemplars] draws_per_cell = {self.draws_per_cell}: must be at least 1")
        even = self.ascent_draws >= 2 and self.ascent_draws % 2 == 0
        need(even, f"[exemplars] ascent_draws = {self.ascent_draws}: must be even and at least 2")

    def reduce(self, config: RunConfig) -> RunConfig:
        """The config of that pass: these draws and this cohort, no targets."""
        draws = {name: getattr(self, name) for name in ("replicates", "strata", "draws_per_cell")}
        return replace(
            config,
            bank=replace(config.bank, **draws),
            clips=replace(config.clips, cohort=self.cohort, targets=0),
            unlearning=replace(config.unlearning, ascent_draws=self.ascent_draws),
        )


@dataclass(frozen=True)
class IndexSection:
    """The index of sketches, by which `attribute` finds a new clip's tracks without a pass over all."""

    folder: str = ""  # "" = beside the store, with the ending .index
    width: int = 0  # k; 0 = the least at which the measured recall is reached
    widest: int = 65_536  # of the measured widths, which are its halves
    seed: int = 404
    shortlist: int = 48  # tracks and decoys of a new clip that get exact scores by unlearning
    precision: str = "fp16"  # of D-TRAK's sketches: fp32, fp16 or int8, which moves scores by up to 9 % of their spread
    recall: float = 0.95  # of the ten strongest training tracks, wanted
    sample: int = 1024  # tracks and decoys on which recall is measured, spread evenly; 0 = all

    def __post_init__(self) -> None:
        need(self.widest >= 8, f"[index] widest = {self.widest}: must be at least 8")
        fits = self.width >= 0 and (self.width == 0 or self.widest % self.width == 0)
        need(fits, f"[index] width = {self.width}: must be 0 or divide widest = {self.widest}")
        need(self.shortlist >= 1, f"[index] shortlist = {self.shortlist}: must be at least 1")
        need(0 < self.recall <= 1, f"[index] recall = {self.recall}: must be above 0 and at most 1")
        known = ("int8", "fp16", "fp32")
        need(self.precision in known, f"[index] precision = {self.precision!r}: choose one of {', '.join(known)}")
        need(self.sample >= 0, f"[index] sample = {self.sample}: must be 0 (all) or more")


@dataclass(frozen=True)
class DiagnosticsSection:
    """Checkpoints along training, scored like theta_0 (with fewer draws) and reported beside it."""

    checkpoints: str = ""  # folder with step-NNNNNN/model.safetensors; empty or absent = theta_0 alone
    final_step: int = 0  # training step of theta_0, for the report
    replicates: int = 2  # of the noise bank, for the earlier checkpoints
    cohort: int = 32  # clips of the normalisation cohort, for the earlier checkpoints

    def __post_init__(self) -> None:
        need(self.replicates >= 2, f"[diagnostics] replicates = {self.replicates}: must be at least 2")
        need(self.cohort >= 2, f"[diagnostics] cohort = {self.cohort}: normalisation needs at least 2 clips")

    def reduce(self, config: RunConfig) -> RunConfig:
        """The config for an earlier checkpoint: these draws, half of the other ones, one window for the whole clip."""
        return replace(
            config,
            bank=replace(config.bank, replicates=self.replicates, draws_per_cell=1),
            clips=replace(config.clips, cohort=self.cohort),
            fisher=replace(config.fisher, draws=-(-config.fisher.draws // 2)),
            unlearning=replace(
                config.unlearning, ascent_draws=config.unlearning.ascent_draws // 4 * 2 or 2, window_s=NO_WINDOWS_S
            ),
        )


@dataclass(frozen=True)
class RunConfig:
    """One attribution run."""

    corpus: CorpusSection
    model: ModelSection
    clips: ClipsSection
    output: OutputSection
    bank: BankSection = field(default_factory=BankSection)
    fisher: FisherSection = field(default_factory=FisherSection)
    unlearning: UnlearningSection = field(default_factory=UnlearningSection)
    methods: MethodsSection = field(default_factory=MethodsSection)
    pass_: PassSection = field(default_factory=PassSection)  # section [pass]
    moments: MomentsSection = field(default_factory=MomentsSection)
    diagnostics: DiagnosticsSection = field(default_factory=DiagnosticsSection)
    index: IndexSection = field(default_factory=IndexSection)
    exemplars: ExemplarsSection = field(default_factory=ExemplarsSection)
    retraining: RetrainingSection = field(default_factory=RetrainingSection)
    text: str = field(default="", repr=False)  # the TOML as read, kept with the store

    @classmethod
    def load(cls, path: Path) -> RunConfig:
        """Read and check a config. Raises UserError naming the file, section and field at fault."""
        text, table = read_toml(path)
        types: dict[str, type] = {
            "corpus": CorpusSection,
            "model": ModelSection,
            "clips": ClipsSection,
            "output": OutputSection,
            "bank": BankSection,
            "fisher": FisherSection,
            "unlearning": UnlearningSection,
            "pass": PassSection,
            "moments": MomentsSection,
            "diagnostics": DiagnosticsSection,
            "index": IndexSection,
            "exemplars": ExemplarsSection,
            "retraining": RetrainingSection,
        }
        for name in table:
            known = ", ".join([*types, "methods"])
            need(name in types or name == "methods", f"{path}: section [{name}] is unknown; known are {known}")
        for name in ("corpus", "model", "clips", "output"):
            need(name in table, f"{path}: section [{name}] is missing")
        with name_file(path):
            sections: dict[str, Any] = {n: read_settings(kind, table.get(n, {}), n) for n, kind in types.items()}
            sections["methods"] = MethodsSection.read(table.get("methods", {}))
            sections["pass_"] = sections.pop("pass")
        bank, step = sections["bank"], sections["unlearning"]
        need(bank.seed != step.seed, f"{path}: seed of [bank] and [unlearning] must differ, for independent draws")
        for name, fields_ in (("unlearning", ("t_low", "uncaptioned")), ("fisher", ("t_low",))):
            own = {field: table.get(name, {}).get(field, getattr(bank, field)) for field in fields_}
            sections[name] = replace(sections[name], **own)
        return cls(**sections, text=text)


def fingerprint(*parts: Any) -> str:
    """A short stable hash of settings and content hashes, for all that a cached result depends on."""

    def simplify(value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {k: v for k, v in list_values(value).items() if k != "text"}
        return value

    data = json.dumps([RESULTS, *(simplify(p) for p in parts)], sort_keys=True, default=str)
    return hashlib.sha256(data.encode()).hexdigest()[:16]

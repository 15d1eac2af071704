"""The verbs of `python -m precompute evaluate`. Heavy imports stay inside the verb that needs them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from precompute.cli.config import ROOT, add_config, load_config

EXEMPLARS = ROOT / "assets/demo/exemplars.safetensors"


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add one verb for each judgement."""
    kinds = parser.add_subparsers(required=True, metavar="WHAT")
    quality = kinds.add_parser("quality", help="do the clips sound like the corpus? beside decoys")
    quality.add_argument("--count", type=int, default=160, help="clips, decoys and tracks (default: %(default)s)")
    _finish(quality, "quality", _do_quality)
    sweep = kinds.add_parser("sweep", help="quality over guidance and steps of the sampler")
    sweep.add_argument("--count", type=int, default=48, help="clips a setting (default: %(default)s)")
    _finish(sweep, "sweep", _do_sweep)
    _add_planted(kinds.add_parser("planted", help="weighted tracks, a rare style and exemplars: do methods find them?"))
    _add_null(kinds.add_parser("null", help="controls in which there is nothing to find"))
    _add_self_influence(
        kinds.add_parser(
            "self-influence", help="does a training track that is unlearned find itself? by layers and mask"
        )
    )
    agreement = kinds.add_parser("agreement", help="all methods on clips of full length, beside each other")
    agreement.add_argument("--clips", type=int, default=16, help="of full length (default: %(default)s)")
    agreement.add_argument("--method", action="append", default=[], help="instead of those of the config")
    agreement.add_argument("--picture", type=Path, default=ROOT / "assets/pictures/agreement.png")
    _finish(agreement, "agreement", _do_agreement)
    _finish(kinds.add_parser("calibration", help="is the test of above noise fair?"), "calibration", _do_calibration)
    retraining = kinds.add_parser("retraining", help="do scores predict what a model becomes without some works?")
    retraining.add_argument("--method", action="append", default=[], help="instead of all but mucs")
    retraining.add_argument("--clips", type=int, default=0, help="score so many clips; 0 = all (default: %(default)s)")
    retraining.add_argument("--picture", type=Path, default=ROOT / "assets/pictures/retraining.png")
    _finish(retraining, "retraining", _do_retraining)
    card = kinds.add_parser("card", help="write the model card's tables from the results of the others")
    card.add_argument("--card", type=Path, default=ROOT / "assets/demo/MODEL_CARD.md")
    card.set_defaults(run=_do_card)
    store = kinds.add_parser("store", help="put what the others kept on its model into a published store")
    add_config(store)
    store.add_argument("--store", type=Path, help="another than the config's")
    store.set_defaults(run=_do_store)


def _finish(parser: argparse.ArgumentParser, name: str, run: Callable[[argparse.Namespace], None]) -> None:
    """Add the arguments that all judgements share, and the function that runs this one."""
    add_config(parser, name)
    out = ROOT / f"assets/benchmarks/demo-{name}.json"
    parser.add_argument("--out", type=Path, default=out, help="JSON to keep (default: %(default)s)")
    parser.set_defaults(run=run)


def _add_method(parser: argparse.ArgumentParser) -> None:
    meaning = "one of `methods`; again for another, in the same pass (default: unlearning)"
    parser.add_argument("--method", action="append", default=[], help=meaning)


def _add_planted(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=int, default=4, help="clips a caption (default: %(default)s)")
    parser.add_argument("--exemplars", type=Path, default=EXEMPLARS, help="their file (default: %(default)s)")
    parser.add_argument("--exemplar-clips", type=int, default=2, help="clips an exemplar (default: %(default)s)")
    parser.add_argument(
        "--exemplar-method",
        action="append",
        default=[],
        help="judged by exemplars, in two passes of their own (default: all)",
    )
    parser.add_argument(
        "--unheard",
        type=Path,
        help="manifest of rare-style tracks that the model never heard (default: unheard.csv beside the corpus's)",
    )
    parser.add_argument(
        "--decoys", type=int, default=128, help="that enter the normalisation; 0 = all (default: %(default)s)"
    )
    parser.add_argument(
        "--replicates", type=int, default=2, help="of the noise bank; 0 = the config's (default: %(default)s)"
    )
    _finish(parser, "planted", _do_planted)
    _add_method(parser)


def _add_null(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--swap-steps",
        type=int,
        default=400,
        help="of both short trainings; 0 = none (default: %(default)s)",
    )
    parser.add_argument(
        "--captions", type=int, default=2, help="clips under whose caption all tracks are scored (default: %(default)s)"
    )
    parser.add_argument(
        "--tracks", type=int, default=128, help="training tracks, and as many decoys; 0 = all (default: %(default)s)"
    )
    parser.add_argument("--clips", type=int, default=8, help="shown clips; 0 = all (default: %(default)s)")
    _finish(parser, "null", _do_null)
    _add_method(parser)


def _add_self_influence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--targets", type=int, default=40, help="training tracks (default: %(default)s)")
    parser.add_argument("--layers", nargs="+", default=None, help="layer groups (default: all four)")
    parser.add_argument("--masks", nargs="+", default=None, help="masks (default: all three)")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 4], help="of the weights (default: 1 4)")
    parser.add_argument("--draws", type=int, default=8, help="of a target's gradient (default: %(default)s)")
    parser.add_argument("--top", type=int, default=10, help="k of CLAP_topk (default: %(default)s)")
    parser.add_argument("--fd", type=int, default=0, help="clips for the Fréchet distance before and after; 0 = none")
    _finish(parser, "self-influence", _do_self_influence)


# -- the verbs: heavy imports stay inside ------------------------------------------------------------------------------


def _do_quality(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.quality.comparison import evaluate_quality

    evaluate_quality(config, options.out, options.count)


def _do_sweep(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.quality.comparison import evaluate_sampler

    evaluate_sampler(config, options.out, options.count)


def _do_planted(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.planted.judgement import PlantedSettings, evaluate_planted

    exemplars = options.exemplars if options.exemplars.is_file() else None
    if exemplars is None:
        print(f"{options.exemplars}: no exemplars here, they are left out (train-exemplars makes them)", flush=True)
    settings = PlantedSettings(
        options.seeds, options.exemplar_clips, options.decoys, options.replicates, tuple(options.exemplar_method)
    )
    beside = Path(config.corpus.manifest).with_name("unheard.csv") if config.corpus.manifest else None
    unheard = options.unheard or (beside if beside and beside.is_file() else None)
    if unheard is None:
        print("no tracks of the rare style that the model never heard: its caption is not controlled for", flush=True)
    evaluate_planted(config, options.out, options.method or ["unlearning"], exemplars, settings, unheard)


def _do_null(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.null.controls import NullSettings, evaluate_null

    settings = NullSettings(options.swap_steps, options.captions, options.tracks, options.clips)
    evaluate_null(config, options.out, options.method or ["unlearning"], settings)


def _do_self_influence(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.config.run import LAYERS, MASKS
    from precompute.evaluate.paper.self_influence import SelfInfluenceSettings, evaluate_self_influence

    chosen = SelfInfluenceSettings(
        targets=options.targets,
        layers=tuple(options.layers or LAYERS),
        masks=tuple(options.masks or MASKS),
        steps=tuple(options.steps),
        draws=options.draws,
        top=options.top,
        fd=options.fd,
    )
    evaluate_self_influence(config, options.out, chosen)


def _do_agreement(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.paper.agreement import evaluate_agreement

    evaluate_agreement(config, options.out, options.clips, options.method, options.picture)


def _do_calibration(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.calibration import evaluate_calibration

    evaluate_calibration(config, options.out)


def _do_retraining(options: argparse.Namespace) -> None:
    config = load_config(options.config)
    from precompute.evaluate.retraining.judgement import evaluate_retraining

    evaluate_retraining(config, options.out, options.method, options.clips, options.picture)


def _do_card(options: argparse.Namespace) -> None:
    from precompute.evaluate.card import write_card

    write_card(options.card, ROOT / "assets/benchmarks", options.card.with_name("model-card.json"))


def _do_store(options: argparse.Namespace) -> None:
    from precompute.config.run import RunConfig
    from precompute.store.evaluations import store_evaluations

    config = RunConfig.load(options.config)
    store = options.store or Path(config.output.store)
    names = store_evaluations(store, Path(config.output.evaluations))
    print(f"{store}: a new version with {len(names)} evaluations of its model ({', '.join(names)})", flush=True)

"""The verbs `pass` and `plan`: arguments here, heavy imports in what they call."""

from __future__ import annotations

import argparse
from typing import Any

from precompute.cli.config import add_config, load_config


def add_verbs(verbs: Any) -> None:
    """Add `pass` and `plan` to the parsers of the verbs."""
    passing = verbs.add_parser(
        "pass", help="the pass over all tracks by many processes or machines; `run` then finds it done"
    )
    add_config(passing)
    passing.add_argument("--workers", type=int, default=1, help="processes, or actors of ray (default: %(default)s)")
    passing.add_argument(
        "--launcher",
        choices=("local", "ray"),
        default="local",
        help="processes of this machine (CPU, Linux), or actors of ray: GPUs, many machines",
    )
    passing.add_argument("--ray-address", default="", help="of a running cluster; empty = on this machine's loopback")
    passing.add_argument("--timeout", type=float, default=3600.0, help="seconds for a shard (default: %(default)s)")
    passing.add_argument("--retries", type=int, default=2, help="of a shard that was lost (default: %(default)s)")
    passing.add_argument("--cost-per-hour", type=float, default=0.0, help="of all machines together, any currency")
    passing.set_defaults(run=_do_pass)

    plan = verbs.add_parser("plan", help="time, memory and disk of a pass, from measured rates")
    plan.add_argument("--tracks", type=int, default=115_000)
    plan.add_argument("--clips", type=int, default=64)
    plan.add_argument("--gpu", default="cpu", help="cpu, h100 or h200 (default: %(default)s)")
    plan.add_argument("--workers", type=int, default=1, help="processes, or cards (default: %(default)s)")
    plan.add_argument("--model", choices=("embedded", "real"), help="default: embedded on cpu, real (1.06B) on a GPU")
    plan.add_argument("--cohort", type=int, default=48, help="clips of the normalisation cohort (default: %(default)s)")
    plan.add_argument("--frames", type=int, default=1024, help="latent frames of the real model (default: %(default)s)")
    plan.add_argument("--cells", type=int, default=16, help="cells of the noise bank (default: %(default)s)")
    plan.add_argument("--memory-gb", type=float, default=0.0, help="[pass] memory_gb; 0 = 85 %% of the card's, or 8 GB")
    plan.add_argument("--cost-per-hour", type=float, default=0.0, help="of one worker, any currency")
    plan.add_argument("--measure", action="store_true", help="first measure the embedded model here, and keep it")
    plan.set_defaults(run=_do_plan)


def _do_pass(options: argparse.Namespace) -> None:
    from precompute.errors import need

    need(options.workers >= 1, f"--workers {options.workers}: must be at least 1")
    need(options.timeout > 0, f"--timeout {options.timeout}: must be above 0")
    need(options.retries >= 0, f"--retries {options.retries}: must be 0 or more")
    config = load_config(options.config)
    from precompute.common.scheduler import Limits
    from precompute.scale.driver import PassOptions, run_pass

    run_pass(
        config,
        PassOptions(
            workers=options.workers,
            use_ray=options.launcher == "ray",
            ray_address=options.ray_address,
            limits=Limits(options.timeout, options.retries),
            cost_per_hour=options.cost_per_hour,
        ),
    )


def _do_plan(options: argparse.Namespace) -> None:
    from precompute.cost.plan import PassPlan, format_plan

    if options.measure:
        from precompute.common.torch_setup import setup_torch
        from precompute.cost.measurement import measure_embedded_model

        setup_torch()

        measure_embedded_model()
    names = ("tracks", "clips", "cohort", "gpu", "workers", "model", "frames", "cells", "memory_gb", "cost_per_hour")
    print(format_plan(PassPlan(**{name: getattr(options, name) for name in names})))

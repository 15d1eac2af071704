"""A model of stable-audio-open-1.0's own configuration, with random weights, laid out as the hub's cache holds it.

`python real_model.py HF_HOME` makes it. Widths, heads, autoencoder and conditioners are those that Stability AI
publishes with the model; less are the transformer's depth (24 there), the length (2,097,152 samples there) and the
depth of T5.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

REVISION = "0" * 40
STRIDES = [2, 4, 4, 8, 8]  # product: 2048 samples a latent frame
DEPTH, SAMPLES = 2, 65_536  # 32 latent frames, 1.5 s
SECONDS = [
    {"id": f"seconds_{what}", "type": "number", "config": {"min_val": 0, "max_val": 512}} for what in ("start", "total")
]
CODER = {"channels": 128, "c_mults": [1, 2, 4, 8, 16], "strides": STRIDES, "use_snake": True}
CONFIG = {
    "model_type": "diffusion_cond",
    "sample_size": SAMPLES,
    "sample_rate": 44_100,
    "audio_channels": 2,
    "model": {
        "pretransform": {
            "type": "autoencoder",
            "iterate_batch": True,
            "config": {
                "encoder": {"type": "oobleck", "config": {**CODER, "in_channels": 2, "latent_dim": 128}},
                "decoder": {
                    "type": "oobleck",
                    "config": {**CODER, "out_channels": 2, "latent_dim": 64, "final_tanh": False},
                },
                "bottleneck": {"type": "vae"},
                "latent_dim": 64,
                "downsampling_ratio": 2048,
                "io_channels": 2,
            },
        },
        "conditioning": {
            "configs": [
                {"id": "prompt", "type": "t5", "config": {"t5_model_name": "t5-base", "max_length": 128}},
                *SECONDS,
            ],
            "cond_dim": 768,
        },
        "diffusion": {
            "cross_attention_cond_ids": ["prompt", "seconds_start", "seconds_total"],
            "global_cond_ids": ["seconds_start", "seconds_total"],
            "type": "dit",
            "config": {
                "io_channels": 64,
                "embed_dim": 1536,
                "depth": DEPTH,
                "num_heads": 24,
                "cond_token_dim": 768,
                "global_cond_dim": 1536,
                "project_cond_tokens": False,
                "transformer_type": "continuous_transformer",
            },
        },
        "io_channels": 64,
    },
}


def snapshot(home: Path, repo: str) -> Path:
    """The folder of a repository's files in the hub cache below `home`."""
    folder = home / "hub" / f"models--{repo.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    files = folder / "snapshots" / REVISION
    files.mkdir(parents=True)
    return files


def make_text_encoder(home: Path) -> None:
    """A T5 of t5-base's shape (one layer of twelve), random, with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    folder = snapshot(home, "t5-base")
    shape = {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_heads": 12, "vocab_size": 32_128}
    T5EncoderModel(T5Config(num_layers=1, **shape)).save_pretrained(folder)
    words = ["<pad>", "</s>", "<unk>", *"a the slow fast piano guitar tune in minor major".split()]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)


def make_model(home: Path) -> None:
    """Weights of a common size, so that no layer is silent: as they are built, some begin at zero."""
    import torch
    from safetensors.torch import save_file

    from precompute.model.third_party import create_network

    torch.manual_seed(0)
    network = create_network(CONFIG)
    with torch.no_grad():
        for parameter in network.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.02)
    folder = snapshot(home, "stabilityai/stable-audio-open-1.0")
    (folder / "model_config.json").write_text(json.dumps(CONFIG))
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "model.safetensors")


if __name__ == "__main__":
    make_text_encoder(Path(sys.argv[1]))
    make_model(Path(sys.argv[1]))

"""A small CLAP for the demo: a two-layer text encoder and a four-stage Swin, trained on the corpus' own captions.

Its tokenizer knows the words of the training captions and no others. Loss: symmetric cross-entropy over the batch
(Radford et al. 2021), where rows that carry the same caption count as equally right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from precompute.model.clap import compute_audio_features, compute_text_features

if TYPE_CHECKING:
    from transformers import ClapFeatureExtractor, PreTrainedTokenizerFast

EMBEDDING = 128
MAX_WORDS = 40


def build_tokenizer(captions: list[str]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over the captions' words (lower-cased)."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>"]  # <pad> must be 1: the text encoder counts positions from it
    split = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    words = sorted({word for caption in captions for word, _ in split.pre_tokenize_str(caption.lower())})
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(special + words)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_WORDS,
    )


def build_model(vocabulary: int) -> nn.Module:
    """A randomly initialised ClapModel of about 0.9M parameters."""
    from transformers import ClapAudioConfig, ClapConfig, ClapModel, ClapTextConfig

    text = ClapTextConfig(
        vocab_size=vocabulary,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=MAX_WORDS + 4,
        type_vocab_size=1,
        projection_dim=EMBEDDING,
    )
    audio = ClapAudioConfig(
        spec_size=128,
        num_mel_bins=64,
        window_size=4,
        patch_size=4,
        patch_stride=[4, 4],
        patch_embeds_hidden_size=24,
        depths=[1, 1, 2, 1],
        num_attention_heads=[2, 4, 4, 8],
        hidden_size=192,
        projection_dim=EMBEDDING,
        mlp_ratio=2.0,
        enable_fusion=False,
    )
    return ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict(), projection_dim=EMBEDDING))


def build_extractor(sample_rate: int, seconds: float) -> ClapFeatureExtractor:
    """Log-mel front end: 64 bins, 31 frames per second, windows of `seconds`; short audio is repeated."""
    from transformers import ClapFeatureExtractor

    return ClapFeatureExtractor(
        feature_size=64,
        sampling_rate=sample_rate,
        hop_length=int(sample_rate * seconds / 250),
        max_length_s=int(seconds),
        fft_window_size=1024,
        frequency_min=40,
        frequency_max=sample_rate // 2,
        truncation="rand_trunc",
        padding="repeatpad",
    )


class ClapLoss:
    """Named losses of random pairs of (mel, caption), for `loop.fit`."""

    def __init__(self, model: Any, tokenizer: Any, mel: torch.Tensor, captions: list[str], batch: int) -> None:
        """`model`: a ClapModel, `tokenizer`: its own, whose types in transformers are rough.

        `mel`: [N, 1, frames, bins], row i belongs to captions[i]; `batch` pairs per step.
        """
        self.model, self.tokenizer, self.mel, self.captions, self.pairs = model, tokenizer, mel, captions, batch

    def __call__(self, step: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """Losses of a step; all its random choices come from the generator."""
        rows = torch.randint(len(self.captions), (self.pairs,), generator=generator).tolist()
        mel = torch.stack([self._augment(self.mel[i], generator) for i in rows]).to(self.model.device)
        texts = [self.captions[i] for i in rows]
        audio = F.normalize(compute_audio_features(self.model, mel), dim=-1)
        words = F.normalize(compute_text_features(self.model, self.tokenizer, texts), dim=-1)
        same = torch.tensor([[float(a == b) for b in texts] for a in texts], device=self.model.device)
        wanted = same / same.sum(1, keepdim=True)
        logits = self.model.logit_scale_a.exp().clamp(max=50) * audio.float() @ words.float().T
        loss = 0.5 * (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted))
        return {"loss": loss, "right": (same.gather(1, logits.argmax(1, keepdim=True))).mean().detach()}

    @staticmethod
    def _augment(mel: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Roll in time, change the level by up to ±6 dB, mask one band: changes that must not matter."""
        shift = int(torch.randint(mel.shape[1], (1,), generator=generator))
        level = 12 * torch.rand(1, generator=generator).item() - 6
        low = int(torch.randint(56, (1,), generator=generator))
        mel = mel.roll(shift, dims=1) + level
        mel[:, :, low : low + 8] = mel.mean()
        return mel


@torch.no_grad()
def measure_retrieval(model: Any, tokenizer: Any, mel: torch.Tensor, captions: list[str]) -> dict[str, float]:
    """Share of recordings whose own caption is the nearest, or among the ten nearest, of all distinct captions."""
    distinct = sorted(set(captions))
    words = F.normalize(compute_text_features(model, tokenizer, distinct), dim=-1)
    audio = torch.cat(
        [F.normalize(compute_audio_features(model, part), dim=-1) for part in mel.to(model.device).split(64)]
    )
    order = (audio @ words.T).argsort(1, descending=True)
    own = torch.tensor([distinct.index(c) for c in captions], device=order.device)[:, None]
    place = (order == own).float().argmax(1)
    return {
        "top1": (place < 1).float().mean().item(),
        "top10": (place < 10).float().mean().item(),
        "chance_top1": 1 / len(distinct),
    }

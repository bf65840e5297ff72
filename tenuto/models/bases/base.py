"""A base: a transformer as it was published, frozen, known by the digest of its weights.

Invariant: nothing is trained, nothing that a model's files ask for is run, and the digest is of the bytes
that were on disk at this load, whatever the precision they are held in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenuto.config import PRECISIONS
from tenuto.errors import ConfigError
from tenuto.models.bases import attention, conversation
from tenuto.models.bases.places import find, need

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """A frozen model with its tokenizer.

    name: as it was asked for.
    model: in eval mode; no parameter requires a gradient.
    tokenizer: as it lies beside the model.
    digest: sha256, in hex, over the configuration and the tensors as stored: names, types, shapes, bytes.
    folder: where `config.json` and the weights lie.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    digest: str
    folder: Path

    def encode(self, messages: Sequence[Mapping[str, str]], *, reply: bool = False) -> list[int]:
        """Token ids of messages (`role`, `content`) through the chat template, rendered in a sandbox.

        reply: end with what the template puts before an answer.

        Raises:
            ConfigError: there is no template, or it fails, or it reaches out of the sandbox.
        """
        return conversation.encode(self.tokenizer, messages, reply=reply)


def load(
    name: str | Path, *, dtype: str = "float32", on_progress: Callable[[int, int], None] | None = None
) -> Base:
    """Load a causal language model or an encoder, frozen.

    name: `smollm2`, `minilm`, a folder, or `owner/model` on the Hugging Face hub.
    dtype: what the weights are held in.
    on_progress: called with tensors (done, in all) while `smollm2` is converted, once per machine.

    >>> load("smolm2")
    Traceback (most recent call last):
    tenuto.errors.ConfigError: no base model 'smolm2': take smollm2, minilm, a folder or a hub's owner/model

    Raises:
        ConfigError: there is no such model, a package is missing, or its files are refused, and why.
    """
    if dtype not in PRECISIONS:
        raise ConfigError(f"dtype {dtype!r} is not one of {', '.join(PRECISIONS)}")
    folder, digest = find(name, on_progress)
    need("transformers", "tenuto[lm]")
    from transformers import AutoConfig, AutoTokenizer

    with _quietly():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = _model(folder, config, dtype)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, ImportError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{folder} cannot be loaded: {error}") from error
    conversation.check(tokenizer, folder)
    return Base(name=str(name), model=model, tokenizer=tokenizer, digest=digest, folder=folder)


def _model(folder: Path, config: PretrainedConfig, dtype: str) -> PreTrainedModel:
    """The module of a folder, every tensor of it out of the files, in eval mode and frozen."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    loader: Any = AutoModelForCausalLM if _causal(folder, config) else AutoModel
    options: dict[str, Any] = {"add_pooling_layer": False} if _pools(loader, config) else {}
    kind = loader._model_mapping.get(type(config), None)
    if dtype != "float32" and kind is not None and not torch.cuda.is_available():
        options["attn_implementation"] = attention.offer(kind)
    model, told = loader.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        **options,
    )
    if missing := sorted(told["missing_keys"]):
        raise ConfigError(f"the weights in {folder} lack {len(missing)} tensors, as {', '.join(missing[:3])}")
    for parameter_name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            raise ConfigError(f"{folder}: {parameter_name} holds NaN or infinity")
    frozen: PreTrainedModel = model.eval().requires_grad_(False)
    return frozen


def _causal(folder: Path, config: PretrainedConfig) -> bool:
    """Whether a folder holds a causal language model; an encoder otherwise."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
        MODEL_MAPPING_NAMES,
    )

    asked = (config.architectures or ["none"])[0]
    if asked == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type):
        return True
    known = (MODEL_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    if config.is_encoder_decoder or asked not in {names.get(config.model_type) for names in known}:
        raise ConfigError(
            f"{folder} holds a {config.model_type} of architecture {asked}; "
            "a base is a causal language model or an encoder"
        )
    return False


def _pools(loader: Any, config: PretrainedConfig) -> bool:
    """Whether a model would put a pooling layer over its states, whose weights are nobody's."""
    kind = loader._model_mapping.get(type(config), None)
    return kind is not None and "add_pooling_layer" in inspect.signature(kind.__init__).parameters


@contextmanager
def _quietly() -> Iterator[None]:
    """Without transformers' progress bars and remarks, which are as before afterwards."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()

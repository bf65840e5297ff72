"""A GGUF file as a folder of safetensors in the user's cache, made once.

Q4_1 holds x = d q + m in blocks of 32, Q8_0 x = d q (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
Llama's query and key rows lie there interleaved for rotary embeddings; they are put back.

Invariant: a folder appears whole or not at all, and is used while its digest is the one it was made with.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenuto.errors import ConfigError, OutOfSpace
from tenuto.folders import appearing
from tenuto.models.bases.digest import digest

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader
    from transformers import PreTrainedTokenizerBase

FORMAT = 1
"""Raised when the same file would be converted otherwise."""

OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INNER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
CONTROL = 3
"""The kind of a token that no text is cut into."""


def cache() -> Path:
    """The user's cache of bases: `$XDG_CACHE_HOME/tenuto/bases`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tenuto" / "bases"


def converted(
    source: Path, name: str, on_progress: Callable[[int, int], None] | None = None
) -> tuple[Path, str]:
    """The folder that a GGUF file was converted to, and its digest; converted now if it is not or is damaged.

    Raises:
        ConfigError: there is no such file, or it holds another kind of model.
        OutOfSpace: the cache cannot be written.
    """
    try:
        with source.open("rb") as file:
            key = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{source} cannot be read: {error.strerror}; install its package again") from error
    folder = cache() / f"{name}-{FORMAT}-{key[:32]}"
    if found := _sound(folder):
        return folder, found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            if found := _sound(folder):
                return folder, found
            return folder, _make(source, folder, on_progress)
    except OSError as error:
        raise OutOfSpace(
            f"{folder.parent} cannot be written: {error}; set XDG_CACHE_HOME to a place with 600 MB"
        ) from error


def _sound(folder: Path) -> str | None:
    """The digest of a folder that is as it was made."""
    try:
        made = json.loads((folder / "made.json").read_text())
        return made["digest"] if digest(folder) == made["digest"] else None
    except (OSError, ValueError, KeyError):
        return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Alone among processes; a killed one lets go."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(source: Path, folder: Path, on_progress: Callable[[int, int], None] | None) -> str:
    """Convert into a folder that appears whole; its digest."""
    with appearing(folder, replace=True) as part:
        _convert(source, part, on_progress)
        found = digest(part)
        (part / "made.json").write_text(json.dumps({"source": source.name, "digest": found}))
    return found


def _convert(source: Path, folder: Path, on_progress: Callable[[int, int], None] | None) -> None:
    """Write configuration, weights in float32 and tokenizer of a Llama."""
    from gguf import GGUFReader, dequantize
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        reader = GGUFReader(source)
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"{source} is not a GGUF file, or is cut short: {error}") from error
    if (kind := _field(reader, "general.architecture")) != "llama":
        raise ConfigError(f"{source.name} holds a model of architecture {kind}; only llama is converted")
    config = _config(reader)
    tensors = {}
    for done, tensor in enumerate(reader.tensors, start=1):
        name, values = tensor.name, dequantize(tensor.data, tensor.tensor_type)
        if ".attn_q." in name:
            values = _split(values, config["num_attention_heads"])
        elif ".attn_k." in name:
            values = _split(values, config["num_key_value_heads"])
        tensors[_named(name)] = values
        if on_progress is not None:
            on_progress(done, len(reader.tensors))
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    _tokenizer(reader).save_pretrained(folder)
    try:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _named(name: str) -> str:
    """A tensor's name in transformers.

    >>> _named("blk.3.attn_q.weight")
    'model.layers.3.self_attn.q_proj.weight'
    """
    if name in OUTER:
        return OUTER[name]
    match name.split("."):
        case ["blk", layer, part, "weight"] if part in INNER:
            return f"model.layers.{layer}.{INNER[part]}.weight"
    raise ConfigError(f"the file holds a tensor {name!r}, which a Llama has not")


def _split(rows: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows (heads * 2 d, n) whose halves lie interleaved, with each head's halves one after the other.

    >>> import numpy as np
    >>> _split(np.arange(4)[:, None], 1).ravel()
    array([0, 2, 1, 3])
    """
    return rows.reshape(heads, -1, 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def _field(reader: GGUFReader, key: str) -> Any:
    """A value of the file's head."""
    if (found := reader.get_field(key)) is None:
        raise ConfigError(f"the file lacks {key}")
    return found.contents()


def _config(reader: GGUFReader) -> dict[str, Any]:
    """The configuration that the file's head tells; what it does not tell is a Llama's default."""

    def told(key: str) -> Any:
        return _field(reader, f"llama.{key}")

    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": told("vocab_size"),
        "hidden_size": told("embedding_length"),
        "intermediate_size": told("feed_forward_length"),
        "num_hidden_layers": told("block_count"),
        "num_attention_heads": told("attention.head_count"),
        "num_key_value_heads": told("attention.head_count_kv"),
        "head_dim": told("rope.dimension_count"),
        "max_position_embeddings": told("context_length"),
        "rms_norm_eps": told("attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": told("rope.freq_base")},
        "tie_word_embeddings": all(tensor.name != "output.weight" for tensor in reader.tensors),
        "dtype": "float32",
        **{key: _field(reader, f"tokenizer.ggml.{key}") for key in ("bos_token_id", "eos_token_id")},
        "pad_token_id": _field(reader, "tokenizer.ggml.padding_token_id"),
    }


def _tokenizer(reader: GGUFReader) -> PreTrainedTokenizerBase:
    """The byte-pair encoding that the file holds: digits apart one by one, then words as GPT-2 cuts them."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if (kind := _field(reader, "tokenizer.ggml.pre")) != "smollm":
        raise ConfigError(f"the file's text is cut as {kind} does; only smollm's is known")
    words = _field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(merge.split(" ")) for merge in _field(reader, "tokenizer.ggml.merges")]
    tokenizer = Tokenizer(models.BPE(vocab={word: row for row, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    kinds = _field(reader, "tokenizer.ggml.token_type")
    apart = [word for word, kind in zip(words, kinds, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in apart])
    ends = {
        "bos_token": "bos_token_id",
        "eos_token": "eos_token_id",
        "unk_token": "unknown_token_id",
        "pad_token": "padding_token_id",
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{end: words[_field(reader, f"tokenizer.ggml.{key}")] for end, key in ends.items()},
        model_max_length=_field(reader, "llama.context_length"),
        clean_up_tokenization_spaces=False,
        chat_template=_field(reader, "tokenizer.chat_template"),
    )

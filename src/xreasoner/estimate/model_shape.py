"""The dimensions of a model that memory and time depend on."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xreasoner.models.image_support import needs_generate


@dataclass(frozen=True)
class Shape:
    """A Llama-like language model: gated MLP, grouped-query attention."""

    hidden: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool
    """Input and output embeddings share one matrix."""
    biased: bool = False
    """Queries, keys and values have a bias."""
    vision: int = 0
    """Parameters of the vision tower, which training does not load."""
    by_generate: bool = False
    """Without vLLM, transformers' own `generate` answers about images, one question at a time."""

    @property
    def kv(self) -> int:
        """Width of the keys (and of the values) of one token in one layer."""
        return self.kv_heads * self.head_size

    @property
    def queries(self) -> int:
        return self.heads * self.head_size

    @property
    def layer_matrices(self) -> int:
        """Parameters of the matrices of one layer."""
        attention = 2 * self.hidden * self.queries + 2 * self.hidden * self.kv
        return attention + 3 * self.hidden * self.mlp

    @property
    def layer(self) -> int:
        biases = self.queries + 2 * self.kv if self.biased else 0
        return self.layer_matrices + biases + 2 * self.hidden

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def ends(self) -> int:
        """Input and output embeddings."""
        return self.embedding * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """Parameters of the language model."""
        return self.layers * self.layer + self.ends + self.hidden

    def adapters(self, rank: int, targets: tuple[str, ...]) -> int:
        """Parameters of low-rank adapters on the named projections of every layer."""
        ends = {
            "q_proj": self.hidden + self.queries,
            "k_proj": self.hidden + self.kv,
            "v_proj": self.hidden + self.kv,
            "o_proj": self.queries + self.hidden,
            "gate_proj": self.hidden + self.mlp,
            "up_proj": self.hidden + self.mlp,
            "down_proj": self.mlp + self.hidden,
        }
        return self.layers * rank * sum(ends[target] for target in targets if target in ends)


def _qwen(
    hidden: int,
    mlp: int,
    layers: int,
    heads: int,
    kv_heads: int,
    vocabulary: int,
    tied: bool,
    size: int = 128,
    vision: int = 670_000_000,
) -> Shape:
    return Shape(hidden, mlp, layers, heads, kv_heads, size, vocabulary, tied, biased=True, vision=vision)


KNOWN: dict[str, Shape] = {
    "Qwen/Qwen2.5-0.5B-Instruct": _qwen(896, 4864, 24, 14, 2, 151936, tied=True, size=64, vision=0),
    "Qwen/Qwen2.5-VL-3B-Instruct": _qwen(2048, 11008, 36, 16, 2, 151936, tied=True),
    "Qwen/Qwen2.5-VL-7B-Instruct": _qwen(3584, 18944, 28, 28, 4, 152064, tied=False),
    "Qwen/Qwen2.5-VL-32B-Instruct": _qwen(5120, 27648, 64, 40, 8, 152064, tied=False),
    "Qwen/Qwen2.5-VL-72B-Instruct": _qwen(8192, 29568, 80, 64, 8, 152064, tied=False),
}
"""So that an estimate needs no download."""


def shape_of(model: str) -> Shape:
    """The shape of a folder, of `miniworld`, or of a hub model that is known or can be looked up."""
    if model in KNOWN and not Path(model).exists():
        return KNOWN[model]
    if "/stages/" in model and not Path(model).exists():
        raise ValueError(
            f"model {model}: this run does not exist yet; for an estimate name a model of the same size, "
            "as in model=Qwen/Qwen2.5-VL-7B-Instruct"
        )
    from xreasoner.models.resolve import resolve_model

    return read_shape(json.loads((resolve_model(model) / "config.json").read_text()))


def read_shape(config: dict[str, Any]) -> Shape:
    """From `config.json`; older VLM configs have the sizes of the language model at the top level."""
    text = {**config, **config.get("text_config", {})}
    missing = [name for name in ("hidden_size", "intermediate_size", "num_hidden_layers") if name not in text]
    if missing:
        raise ValueError(f"config.json: no {missing[0]}; estimates need it")
    hidden, heads = text["hidden_size"], text["num_attention_heads"]
    return Shape(
        hidden=hidden,
        mlp=text["intermediate_size"],
        layers=text["num_hidden_layers"],
        heads=heads,
        kv_heads=text.get("num_key_value_heads") or heads,
        head_size=text.get("head_dim") or hidden // heads,
        vocabulary=text["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", text.get("tie_word_embeddings", False))),
        biased="qwen2" in text.get("model_type", ""),
        by_generate=needs_generate(config),
    )

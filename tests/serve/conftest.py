"""A real server on a free port, with the mini-world's base or a random model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import openai
import pytest
import torch
from tests.rollout.conftest import PADDED_VOCABULARY, word_tokenizer
from transformers import MistralConfig, MistralForCausalLM

from xreasoner.models.load import Loaded
from xreasoner.models.resolve import resolve_model
from xreasoner.serve.http_server import HttpServer
from xreasoner.serve.serve_settings import ServeSettings
from xreasoner.serve.torch_server import load_for_serving, torch_server

KEY = "tell-nobody"


@contextmanager
def serving(
    loaded: Loaded, settings: ServeSettings, rows: int = 8, key: str | None = None
) -> Iterator[HttpServer]:
    with torch_server(loaded, settings, rows, key) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def miniworld() -> Loaded:
    return load_for_serving(resolve_model("miniworld"))


@pytest.fixture(scope="module")
def server(miniworld: Loaded) -> Iterator[HttpServer]:
    settings = ServeSettings("mini", port=0, think_budget=64, answer_budget=16)
    with serving(miniworld, settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: HttpServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


THOUGHT = "<think> w1 w2 w3 w4 w5 w6 w7 w8 w9 </think>"
WIDTH = 128
ANSWER = "<answer> w20 w21 </answer>"


def chain_model(script: str, after_exit: str = "") -> Loaded:
    """A model whose next token depends on the last one alone: its text is known by hand.

    Embeddings are unit vectors, all layers add nothing, and the head maps each word to its successor.
    """
    tokenizer = word_tokenizer()
    config = MistralConfig(
        vocab_size=PADDED_VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=None,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        max_position_embeddings=256,
    )
    model = MistralForCausalLM(config).eval()
    ids = tokenizer.convert_tokens_to_ids(["assistant", *script.split()])
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(PADDED_VOCABULARY, WIDTH))
        layer = model.model.layers[0]
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for word, successor in [
            *pairwise(ids),
            *pairwise(tokenizer.convert_tokens_to_ids(after_exit.split())),
        ]:
            model.lm_head.weight[successor, word] = 1.0
    return Loaded(model, tokenizer, None)


@pytest.fixture(scope="session")
def thinker() -> Loaded:
    """Thinks for ten tokens, the opening one included, and answers."""
    return chain_model(f"{THOUGHT} {ANSWER} <|im_end|>")


@pytest.fixture(scope="session")
def plain() -> Loaded:
    """Has no thought and does not stop by itself; asked to answer, it does."""
    return chain_model("w1 w2 w3 w4 w5 w6 w7 w8 w1", f"{ANSWER} <|im_end|>")


@pytest.fixture(scope="session")
def endless() -> Loaded:
    """Never closes its thought; asked to answer, it does."""
    loaded = chain_model(f"</think> {ANSWER} <|im_end|>")
    words = loaded.tokenizer.convert_tokens_to_ids(["assistant", "<think>", "w1", "w2", "w1"])
    with torch.no_grad():
        loaded.model.lm_head.weight[:, words[0]] = 0
        for word, successor in pairwise(words):
            loaded.model.lm_head.weight[successor, word] = 1.0
    return loaded

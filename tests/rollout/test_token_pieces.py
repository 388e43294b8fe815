"""Each token's characters, so that they can be coloured by log-probability; held against real tokenizers."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from xreasoner.models.load import load_tokenizer
from xreasoner.models.resolve import resolve_model
from xreasoner.records import Problem, Rollout, Score
from xreasoner.rollout.token_pieces import TokenPieces, end_of
from xreasoner.train.collect import GradedRollout, Group, RolloutBatch
from xreasoner.train.metrics import write_samples

TEXT = "so 𝄞 costs 12 €, and\n\n naïve 🙂🙂 is √2 </think>\n"


def byte_level_tokenizer() -> Tokenizer:
    """Of few merges, so that most characters beyond ASCII span several tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        ["so costs and is"] * 9, trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet)
    )
    return tokenizer


def test_the_tokens_of_a_byte_level_tokenizer_make_up_the_text() -> None:
    tokenizer = byte_level_tokenizer()
    encoded = tokenizer.encode(TEXT)
    lengths = TokenPieces(tokenizer.decode).lengths(encoded.ids, TEXT)
    assert lengths is not None and sum(lengths) == len(TEXT)
    ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
    # The tokenizer's own offsets end each token at the character that its last byte belongs to.
    complete = [place for place, length in enumerate(lengths) if length]
    assert [ends[place] for place in complete] == [encoded.offsets[place][1] for place in complete]
    assert lengths.count(0) >= 3 + 3 + 3  # each of 𝄞 🙂 🙂 has four bytes


def test_spaces_between_tokens_belong_to_the_next_one() -> None:
    tokenizer = load_tokenizer(resolve_model("miniworld"))
    ids = tokenizer.encode("3 + 4 so 7", add_special_tokens=False)
    text = tokenizer.decode(ids)
    lengths = TokenPieces(tokenizer.decode).lengths([*ids, tokenizer.eos_token_id], text)
    assert lengths is not None and sum(lengths) == len(text)
    assert lengths[-1] == 0  # the token that ends the turn is not in the text


def test_other_tokens_have_no_places() -> None:
    assert TokenPieces(lambda ids: "ab"[ids[0]]).lengths([0, 0], "ab") is None
    assert [end_of("b", "a b", 1), end_of(" b", "a b", 1), end_of("c", "a b", 1), end_of("c", "a ", 1)] == [
        3,
        3,
        None,
        2,
    ]


def test_samples_of_training_keep_what_was_sampled_and_what_injected(tmp_path: Path) -> None:
    words = {5: "so", 6: "</think>", 7: "4"}
    rollout = Rollout(
        "p", 0, (1,), (5, 6, 7), (1, 0, 1), (-0.12345, 0.0, -2.0), "so</think>4", "eos", True, 1
    )
    answer = GradedRollout(rollout, Score(True, "4", "equal"), 0.5, 1.0, {"correct": 1.0})
    batch = RolloutBatch((Group(Problem("p", ("2 + 2?",), "4", "exact"), (answer,)),), 1, 0)
    write_samples(batch, tmp_path / "step.jsonl", lambda ids: "".join(words[one] for one in ids))
    line = json.loads((tmp_path / "step.jsonl").read_text())
    assert line["tokens"] == {"chars": [2, 8, 1], "logprobs": [-0.123, None, -2.0]}

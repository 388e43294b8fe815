"""The token store against examples built one by one in memory, and kills while it is written."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import stated_answer, training_example
from xreasoner.chat.think import write_answer
from xreasoner.data.token_store import SPANS, TokenStore, token_store
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.records import Problem

PROBLEMS = [
    Problem(f"p{i}", (f"work out {i}",), "7", "exact", reasoning=f"{i // 10} then {i % 10} " * (1 + i % 5))
    for i in range(98)
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer()


@pytest.fixture(scope="module")
def store(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    folder = tmp_path_factory.mktemp("stage") / "tokens"
    return token_store(PROBLEMS, "think", tokenizer, folder, print)


def test_it_holds_what_is_made_in_memory(store: TokenStore, tokenizer: PreTrainedTokenizerBase) -> None:
    expected = [training_example(problem, "think", tokenizer) for problem in PROBLEMS]
    assert list(store) == expected
    assert store.lengths == [len(example.ids) for example in expected]
    assert store.targets == [sum(example.is_target[1:]) for example in expected]
    bound = sorted(store.lengths)[70]
    assert list(store.up_to(bound)) == [example for example in expected if len(example.ids) <= bound]


def test_a_padding_tokenizer_is_told_not_to(store: TokenStore, tmp_path: Path) -> None:
    padding = build_tokenizer()
    padding.backend_tokenizer.enable_padding(length=300)
    padding.backend_tokenizer.enable_truncation(5)
    assert list(token_store(PROBLEMS, "think", padding, tmp_path / "tokens", print)) == list(store)


def parts(some: TokenStore) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Prompts and replies."""
    cuts = [(example.ids, example.is_target.index(True)) for example in some]
    return [(ids[:cut], ids[cut:]) for ids, cut in cuts]


def test_swapped_replies_go_round_and_leave_nobody_its_own(store: TokenStore) -> None:
    own, swapped = parts(store), parts(store.with_swapped_replies(4, ["all"] * len(store)))
    assert [prompt for prompt, _ in swapped] == [prompt for prompt, _ in own]
    assert sorted(reply for _, reply in swapped) == sorted(reply for _, reply in own)
    assert all(after != before for (_, after), (_, before) in zip(swapped, own, strict=True))


def test_replies_are_swapped_inside_their_group_and_kept_where_there_is_none(store: TokenStore) -> None:
    groups = [("even", "odd", None)[place % 3] for place in range(len(store))]
    own, swapped = parts(store), parts(store.with_swapped_replies(4, groups))
    assert swapped[2::3] == own[2::3]
    for first in (0, 1):
        before, after = ([reply for _, reply in some[first::3]] for some in (own, swapped))
        assert sorted(after) == sorted(before)
        assert all(a != b for a, b in zip(after, before, strict=True))
    with pytest.raises(ValueError, match="answers: only one problem of labs; it would keep its own answer"):
        store.with_swapped_replies(4, ["labs", *groups[1:]])


def test_without_thoughts_the_prompts_are_the_same_and_the_replies_are_answers(
    store: TokenStore, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    direct = parts(token_store(PROBLEMS, "think", tokenizer, folder, print, thoughts=False))
    assert [prompt for prompt, _ in direct] == [prompt for prompt, _ in parts(store)]
    for problem, (_, reply) in zip(PROBLEMS, direct, strict=True):
        answer = write_answer(stated_answer(problem))
        assert tokenizer.decode(reply, skip_special_tokens=True).replace(" ", "") == answer.replace(" ", "")
    assert parts(token_store(PROBLEMS, "think", tokenizer, folder, print)) == parts(store)


def test_it_is_used_again_only_for_the_same_examples(
    tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    def made(problems: list[Problem], instruction: str) -> int:
        token_store(problems, instruction, tokenizer, tmp_path / "tokens", print)
        return (tmp_path / "tokens" / SPANS).stat().st_mtime_ns

    first = made(PROBLEMS, "think")
    assert made(PROBLEMS, "think") == first
    second = made(PROBLEMS, "guess")
    assert second != first
    assert made([*PROBLEMS[:-1], replace(PROBLEMS[-1], answer="0")], "guess") != second
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.data.test_token_store import PROBLEMS, build_tokenizer
from xreasoner.data.token_store import token_store

class Killing(list):
    def __iter__(self):
        for number, problem in enumerate(super().__iter__()):
            if number == 70 and len(armed):
                os.kill(os.getpid(), signal.SIGKILL)
            yield problem

armed = []
problems = Killing(PROBLEMS)
from xreasoner.data import token_store as tokens
write = tokens._write
tokens._write = lambda *args: (armed.append(1), write(*args))
token_store(problems, "think", build_tokenizer(), Path(sys.argv[1]), print)
"""


def test_a_kill_leaves_nothing_half_done(
    store: TokenStore, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    folder = tmp_path / "tokens"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not folder.exists() and any(tmp_path.iterdir())
    assert list(token_store(PROBLEMS, "think", tokenizer, folder, print)) == list(store)
    assert list(tmp_path.iterdir()) == [folder]


def test_nothing_is_a_store_too(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    empty = token_store([], None, tokenizer, tmp_path / "tokens", print)
    assert len(empty.with_swapped_replies(0, []).up_to(9)) == 0
    assert empty.spans_N4.dtype == np.int64

"""The examples of a stage as token ids on disk: training loads only those of a step."""

import time
from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from xreasoner.chat.template import Example, training_ids
from xreasoner.data.problem_store import problems_fingerprint, save_array
from xreasoner.data.steps import shuffled
from xreasoner.records import Problem
from xreasoner.storage.files import sweep
from xreasoner.storage.folders import damage_in, folder_written_atomically
from xreasoner.storage.journal import Say
from xreasoner.storage.run_folder import Manifest, fingerprint, read_manifest

TOGETHER = 256
"""Problems per tokenizer call, which spreads them over all cores and waits for the longest."""
PROBLEMS_BETWEEN_LINES = 20_000
IDS = "ids.int32"
SPANS = "spans.npy"

Spans = NDArray[np.int64]
"""N4: offset and length of the prompt, offset and length of the reply, for each example."""


class TokenStore(Sequence[Example]):
    def __init__(self, file: Path, spans_N4: Spans) -> None:
        self.file, self.spans_N4 = file, spans_N4
        self.lengths: list[int] = (spans_N4[:, 1] + spans_N4[:, 3]).tolist()
        self.targets: list[int] = spans_N4[:, 3].tolist()

    def __len__(self) -> int:
        return len(self.spans_N4)

    def __getitem__(self, index: int) -> Example:  # type: ignore[override]  # no slices
        prompt_at, prompt, reply_at, reply = self.spans_N4[index].tolist()
        ids = (*self._read(prompt_at, prompt), *self._read(reply_at, reply))
        return Example(ids, (False,) * prompt + (True,) * reply)

    def _read(self, at: int, count: int) -> list[int]:
        # A memory map that stays open would keep the whole file resident.
        return np.memmap(self.file, np.int32, "r", offset=at * 4, shape=count).tolist()

    def up_to(self, length: int) -> "TokenStore":
        return TokenStore(self.file, self.spans_N4[np.array(self.lengths) <= length])

    def with_swapped_replies(self, seed: int, groups: Sequence[str | None]) -> "TokenStore":
        """Each prompt gets the reply of the next one in a random cycle through its group, so none keeps its
        own; those of the group None keep it."""
        members = defaultdict[str, list[int]](list)
        for index, group in enumerate(groups):
            if group is not None:
                members[group].append(index)
        spans_N4 = self.spans_N4.copy()
        for group, indices in members.items():
            if len(indices) == 1:
                raise ValueError(f"answers: only one problem of {group}; it would keep its own answer")
            circle = np.array(indices, np.int64)[shuffled(len(indices), seed, epoch=0)]
            spans_N4[circle, 2:] = self.spans_N4[np.roll(circle, -1), 2:]
        return TokenStore(self.file, spans_N4)


def token_store(
    problems: Sequence[Problem],
    instruction: str | None,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    say: Say,
    thoughts: bool = True,
) -> TokenStore:
    """Reuses the tokens in `folder` if they are of the same texts and tokenizer."""
    wanted = Manifest(
        {
            "problems": problems_fingerprint(problems),
            "instruction": instruction,
            "tokenizer": tokenizer_fingerprint(tokenizer),
            **({} if thoughts else {"thoughts": False}),
        },
        "done",
    )
    damage = damage_in(folder)
    if folder.is_dir() and damage:
        say(f"{damage}; tokenised again")
    found = None if damage else read_manifest(folder)
    if found is None or found.fingerprint != wanted.fingerprint:
        sweep(folder.parent)
        with folder_written_atomically(folder) as unfinished:
            _write(problems, instruction, tokenizer, unfinished, say, thoughts)
            wanted.write(unfinished)
    return open_tokens(folder)


def open_tokens(folder: Path) -> TokenStore:
    return TokenStore(folder / IDS, np.load(folder / SPANS))


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return fingerprint([backend.to_str() if backend else tokenizer.name_or_path, tokenizer.chat_template])


def _write(
    problems: Sequence[Problem],
    instruction: str | None,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    say: Say,
    thoughts: bool,
) -> None:
    spans, end, stream, began = array("q"), 0, iter(problems), time.monotonic()
    with (folder / IDS).open("wb") as file:
        while some := list(islice(stream, TOGETHER)):
            for prompt, reply in training_ids(some, instruction, tokenizer, thoughts):
                assert prompt and reply
                spans.extend((end, len(prompt), end + len(prompt), len(reply)))
                file.write(np.array(prompt + reply, np.int32).tobytes())
                end += len(prompt) + len(reply)
            done = len(spans) // 4
            if done // PROBLEMS_BETWEEN_LINES > (done - len(some)) // PROBLEMS_BETWEEN_LINES:
                speed = end / (time.monotonic() - began)
                say(f"{done:,} of {len(problems):,} problems tokenised, {speed:,.0f} tokens/s")
    save_array(folder / SPANS, np.array(spans, np.int64).reshape(-1, 4))

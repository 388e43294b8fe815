"""Continuous batching: requests wait, get slots, take decoding steps together, and leave one by one.

Suffixes: R all rows, V vocabulary, S generated tokens, M rows that move.
"""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor

from xreasoner.chat.template import Encoded, PromptError
from xreasoner.chat.think import THINK_OPEN
from xreasoner.models.load import Loaded
from xreasoner.records import Rollout, Stop
from xreasoner.rollout.forced_exit import TAIL_TOKENS, BudgetTracker, Decision
from xreasoner.rollout.rollout_record import failed_rollout, to_rollout
from xreasoner.rollout.seeds import stream_key
from xreasoner.rollout.special_tokens import SpecialTokens, TokenDecoder
from xreasoner.rollout.torch_engine.attention import attention_configs, use_rollout_attention
from xreasoner.rollout.torch_engine.cache import RowCache
from xreasoner.rollout.torch_engine.decode_attention import row_blocks
from xreasoner.rollout.torch_engine.decode_graphs import DecodeGraphs, Recorder
from xreasoner.rollout.torch_engine.decode_step import DecodeStep
from xreasoner.rollout.torch_engine.prefill import PrefillEntry, length_batches, prefill
from xreasoner.rollout.torch_engine.slot_tensors import SlotTensors
from xreasoner.rollout.torch_engine.slots import Request, Slot, split_request

_FIRST_COLUMNS = 64
"""Cache columns for new tokens at the start; the cache grows as rollouts get longer."""
_REFILL_SHARE = 8
"""One prefill of several prompts costs little more than of one: wait until 1 row in this many is free."""


class SlotProgress(NamedTuple):
    slot: Slot
    tokens: int
    """How many tokens were generated."""
    last_token: int


class SlotDecision(NamedTuple):
    """A rollout ends, or its exit is forced, after so many of its tokens."""

    decision: Decision
    steps: int


class Scheduler:
    """The waiting requests, the slots in use, and their tensors. Requests may be added at any time."""

    @torch.inference_mode()
    def __init__(
        self,
        loaded: Loaded,
        special_tokens: SpecialTokens,
        max_rows: int,
        max_tokens: int,
        check_every: int = 1,
        recorder: Recorder | None = None,
    ) -> None:
        """`max_tokens`: no rollout is longer, so the `max_tokens` of every request's sampling must fit.

        `check_every`: decode this many tokens before the host checks them. Tokens beyond an end or a budget
        are taken back, so the rollouts are the same; on a GPU the host then never waits for single tokens.

        `recorder`: records decoding steps and repeats them; without one, each step is computed anew.
        """
        self._loaded, self._model, self._special_tokens = loaded, loaded.model, special_tokens
        self._decoder = TokenDecoder(loaded.tokenizer, special_tokens)
        self._waiting: deque[Request] = deque()
        self._slots: list[Slot] = []
        self._failed: list[Rollout] = []
        self._clock = 0
        self._attention_configs = attention_configs(self._model)
        self._max_rows, self._check_every = max_rows, check_every
        config, device = self._model.config.get_text_config(), self._model.device
        # Up to `check_every` tokens are decoded after the last one that counts.
        self._max_tokens = max_tokens + check_every
        self._tensors = SlotTensors(self._max_rows, self._max_tokens, device)
        self._cache = RowCache(config.num_hidden_layers, self._max_rows, columns=0)
        exit_ids, banned = list(chain(*special_tokens.exits)), sorted(special_tokens.banned)
        self._decode_step = DecodeStep(self._model, self._cache, self._tensors, exit_ids, banned)
        self._graphs = DecodeGraphs(self._decode_step, recorder) if recorder else None
        self._notable_V = torch.zeros(config.vocab_size, dtype=torch.bool, device=device)
        self._notable_V[sorted(special_tokens.stops | special_tokens.may_end_tag)] = True

    def add(self, requests: Iterable[Request]) -> None:
        self._waiting.extend(chain.from_iterable(split_request(one, self._max_rows) for one in requests))

    @property
    def has_unfinished(self) -> bool:
        return bool(self._waiting or self._slots)

    @property
    def waiting(self) -> set[tuple[str, int]]:
        """The prompts and samples that have no row yet."""
        return {(request.prompt_id, sample) for request in self._waiting for sample in request.samples}

    @torch.inference_mode()
    def step(self) -> list[Rollout]:
        """Admit waiting requests if there is room, decode, and return the finished rollouts."""
        outcomes = self._admit() if self._has_room() else {}
        if not outcomes and self._slots:
            for _ in range(self._check_every):
                self._decode()
            outcomes = self._check()
        failed, self._failed = self._failed, []
        return [*failed, *self._apply(outcomes)]

    @torch.inference_mode()
    def stop(self, slots: Collection[Slot]) -> list[Rollout]:
        """End these slots now and return what they generated."""
        rows = [row for row, slot in enumerate(self._slots) if any(slot is one for one in slots)]
        return self._apply({row: SlotDecision("length", self._slots[row].steps(self._clock)) for row in rows})

    def abort(self, prompt_id: str) -> None:
        """Drop a prompt, whether it waits or is generated."""
        self._waiting = deque(request for request in self._waiting if request.prompt_id != prompt_id)
        self.stop([slot for slot in self._slots if slot.request.prompt_id == prompt_id])

    def progress(self) -> list[SlotProgress]:
        """Each slot that has tokens, with its last one."""
        last_tokens: list[int] = self._tensors.next_token[: len(self._slots)].tolist()
        counts = [slot.steps(self._clock) for slot in self._slots]
        return [SlotProgress(*row) for row in zip(self._slots, counts, last_tokens, strict=True) if row[1]]

    def _has_room(self) -> bool:
        free = self._max_rows - len(self._slots)
        if not self._waiting or len(self._waiting[0].samples) > free:
            return False
        return not self._slots or free >= self._max_rows // _REFILL_SHARE

    def _admit(self) -> dict[int, SlotDecision]:
        first = len(self._slots)
        longest_first = sorted(self._take_waiting(), key=lambda taken: len(taken[1].ids), reverse=True)
        entries = [self._open_slots(request, encoded) for request, encoded in longest_first]
        if not entries:
            return {}
        longest = max(len(entry.encoded.ids) for entry in entries)
        self._cache.reserve(longest + min(_FIRST_COLUMNS, self._max_tokens), longest + self._max_tokens)
        for batch in length_batches(entries):
            own_mask = any(entry.encoded.has_own_mask for entry in batch)
            with nullcontext() if own_mask else use_rollout_attention(self._attention_configs):
                deltas = prefill(self._model, self._cache, batch)
            for entry, delta in zip(batch, deltas, strict=True):
                self._fill_tensors(entry, delta)
        # A budget of zero is spent before the first step.
        spent = [r for r in range(first, len(self._slots)) if self._slots[r].tracker.deadline == 0]
        decisions = {row: self._slots[row].tracker.check_start() for row in spent}
        return {row: SlotDecision(made, 0) for row, made in decisions.items() if made != "continue"}

    def _take_waiting(self) -> list[tuple[Request, Encoded]]:
        free, taken = self._max_rows - len(self._slots), []
        while self._waiting and len(self._waiting[0].samples) <= free:
            request = self._waiting.popleft()
            try:
                encoded = request.encode()
            except PromptError as error:
                failed = (failed_rollout(request.prompt_id, n, str(error)) for n in request.samples)
                self._failed.extend(failed)
                continue
            free -= len(request.samples)
            taken.append((request, encoded))
        return taken

    def _open_slots(self, request: Request, encoded: Encoded) -> PrefillEntry:
        opened = self._decode_tail(encoded.ids, TAIL_TOKENS).rstrip().endswith(THINK_OPEN)
        first = len(self._slots)
        for sample in request.samples:
            # A copy, because the request may be run again.
            tracker = copy(request.tracker) or BudgetTracker(
                request.sampling, self._special_tokens.exits, opened
            )
            start = self._clock - len(request.prefix_ids)
            self._slots.append(Slot(request, sample, encoded.ids, tracker, start))
        with_prefix = replace(encoded, ids=(*encoded.ids, *request.prefix_ids))
        return PrefillEntry(with_prefix, range(first, len(self._slots)))

    def _fill_tensors(self, entry: PrefillEntry, rope_delta: int) -> None:
        slots = [self._slots[row] for row in entry.rows]
        request = slots[0].request
        keys = [stream_key(request.sampling.seed, request.stream, slot.sample) for slot in slots]
        ids, temperature = entry.encoded.ids, request.sampling.temperature
        prefix = len(request.prefix_ids)
        self._tensors.fill(entry.rows, ids, rope_delta, keys, temperature, prefix)

    def _decode(self) -> None:
        lengths = [slot.column(self._clock) + 1 for slot in self._slots]
        most = max(len(slot.prompt_ids) for slot in self._slots) + self._max_tokens
        self._cache.reserve(max(lengths), most)
        if self._graphs:
            self._graphs(len(lengths))
        else:
            self._decode_step(len(lengths), row_blocks(lengths), self._temperature())
        self._clock += 1

    def _temperature(self) -> float | Tensor:
        """A number if all slots have the same one, which is cheaper."""
        (first, *others) = {slot.request.sampling.temperature for slot in self._slots}
        return self._tensors.temperature[: len(self._slots)] if others else first

    def _check(self) -> dict[int, SlotDecision]:
        """Check the new tokens: notable ones, and those at the deadline of a budget."""
        notable: dict[int, set[int]] = {}
        for row, position in self._tensors.find(len(self._slots), self._check_every, self._notable_V):
            notable.setdefault(row, set()).add(position)
        for row, slot in enumerate(self._slots):
            if slot.steps(self._clock) >= slot.tracker.deadline:
                notable.setdefault(row, set())
        if not notable:
            return {}
        rows = sorted(notable)
        tails = self._tensors.tails(rows, TAIL_TOKENS + self._check_every - 1)
        found = (
            (row, self._check_slot(self._slots[row], notable[row], tail))
            for row, tail in zip(rows, tails, strict=True)
        )
        return {row: outcome for row, outcome in found if outcome is not None}

    def _check_slot(self, slot: Slot, notable: set[int], tail: list[int]) -> SlotDecision | None:
        """Token by token, because an early one may move the deadline of later ones."""
        tracker, now = slot.tracker, slot.steps(self._clock)
        for position in range(self._check_every):
            steps = now - self._check_every + position + 1
            is_notable = position in notable and steps - 1 not in tracker.injected
            if not is_notable and steps < tracker.deadline:
                continue
            until_here = tail[: len(tail) - (now - steps)]
            stopped = is_notable and until_here[-1] in self._special_tokens.stops
            decision = tracker.check(steps, stopped, partial(self._decode_tail, until_here))
            if decision != "continue":
                return SlotDecision(decision, steps)
        return None

    def _apply(self, outcomes: dict[int, SlotDecision]) -> list[Rollout]:
        finished: dict[int, Rollout] = {}
        for row, (decision, steps) in outcomes.items():
            if decision == "eos" or decision == "length":
                finished[row] = self._finish(row, decision, steps)
            else:
                self._force_exit(row, steps)
        if finished:
            self._free(set(finished))
        return list(finished.values())

    def _force_exit(self, row: int, steps: int) -> None:
        slot, exits = self._slots[row], self._special_tokens.exits
        injected = slot.tracker.injected_ids
        first = 0 if injected == exits.closing_thought else len(exits.closing_thought)
        take_back = slot.steps(self._clock) - steps
        slot.start += take_back
        self._tensors.force_exit(row, first, len(injected), take_back)

    def _finish(self, row: int, stop: Stop, steps: int) -> Rollout:
        slot = self._slots[row]
        return to_rollout(
            slot.request.prompt_id,
            slot.sample,
            slot.prompt_ids,
            self._tensors.token_RS[row, :steps].tolist(),
            self._tensors.logprob_RS[row, :steps].tolist(),
            stop,
            slot.tracker,
            self._decoder.decode,
        )

    def _free(self, rows: set[int]) -> None:
        """Move the last slots into the freed rows, so that the rows in use stay together."""
        staying = len(self._slots) - len(rows)
        free = [row for row in sorted(rows) if row < staying]
        movers = [row for row in range(staying, len(self._slots)) if row not in rows]
        for source, target in zip(movers, free, strict=True):
            self._slots[target] = self._slots[source]
        del self._slots[staying:]
        if movers:
            device = self._tensors.index.device
            source_M, target_M = torch.tensor(movers, device=device), torch.tensor(free, device=device)
            self._tensors.move(source_M, target_M)
            self._cache.move(source_M, target_M, max(self._slots[row].column(self._clock) for row in free))
        self._tensors.release(slice(staying, staying + len(rows)))

    def _decode_tail(self, ids: Sequence[int], count: int) -> str:
        return self._decoder.decode(ids[-count:])

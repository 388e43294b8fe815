"""Continuous batching: rows are seated, take steps together, and leave one by one for those who wait."""

from collections import deque
from collections.abc import Collection, Iterable, Sequence
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
from xreasoner.rollout.budget import TAIL_TOKENS, Course, Verdict
from xreasoner.rollout.torch_engine.cache import Decode, RowCache
from xreasoner.rollout.torch_engine.prefill import Placed, length_batches, prefill
from xreasoner.rollout.torch_engine.row_attention import attention_configs, rollout_mode, row_blocks
from xreasoner.rollout.torch_engine.rows import NO_EXIT, Rows
from xreasoner.rollout.torch_engine.sampler import draw, stream_key, uniforms
from xreasoner.rollout.torch_engine.slots import Group, Seat, in_parts, refusal, to_rollout
from xreasoner.rollout.vocabulary import Vocabulary

_FIRST_COLUMNS = 64
"""Room for new tokens at the start; the cache widens as thoughts get longer."""
_REFILL_SHARE = 8
"""One prefill for several prompts costs little more than for one: wait until 1 row in so many is free."""


class Written(NamedTuple):
    """How far a row has come, and its newest token; nothing is known of a row without one."""

    seat: Seat
    tokens: int
    newest: int


class Batch:
    """The groups that wait, the seats taken, and their tensors. Groups may come at any time."""

    @torch.inference_mode()
    def __init__(self, loaded: Loaded, vocabulary: Vocabulary, max_rows: int, max_tokens: int) -> None:
        """`max_tokens`: no row writes more, so that `most_tokens` of every group must fit."""
        self._loaded, self._model, self._vocabulary = loaded, loaded.model, vocabulary
        self._waiting: deque[Group] = deque()
        self._seats: list[Seat] = []
        self._refused: list[Rollout] = []
        self._clock = 0
        self._attention_configs = attention_configs(self._model)
        self._max_rows = max_rows
        config, device = self._model.config.get_text_config(), self._model.device
        self._exit_tokens = len(vocabulary.forced_exit)
        self._rows = Rows(self._max_rows, max_tokens, device)
        self._cache = RowCache(config.num_hidden_layers, self._max_rows, columns=0)
        self._exit_ids_E = torch.tensor(vocabulary.forced_exit, device=device)
        self._banned_X = torch.tensor(sorted(vocabulary.banned), dtype=torch.int64, device=device)
        self._notable_V = torch.zeros(config.vocab_size, dtype=torch.bool, device=device)
        self._notable_V[sorted(vocabulary.stops | vocabulary.may_end_tag)] = True

    def admit(self, groups: Iterable[Group]) -> None:
        self._waiting.extend(chain.from_iterable(in_parts(group, self._max_rows) for group in groups))

    @property
    def unfinished(self) -> bool:
        return bool(self._waiting or self._seats)

    @torch.inference_mode()
    def advance(self) -> list[Rollout]:
        """Seat those who wait if there is room, take one step, and hand out the rollouts it finished."""
        verdicts = self._seat_waiting() if self._has_room() else {}
        if not verdicts and self._seats:
            verdicts = self._step()
        refused, self._refused = self._refused, []
        return [*refused, *self._obey(verdicts)]

    @torch.inference_mode()
    def cut(self, seats: Collection[Seat]) -> list[Rollout]:
        """End these rows where they are."""
        rows = [row for row, seat in enumerate(self._seats) if any(seat is one for one in seats)]
        return self._obey(dict.fromkeys(rows, "length"))

    def dismiss(self, prompt_id: str) -> None:
        """Forget a prompt, whether it waits or sits."""
        self._waiting = deque(group for group in self._waiting if group.prompt_id != prompt_id)
        self.cut([seat for seat in self._seats if seat.group.prompt_id == prompt_id])

    def written(self) -> list[Written]:
        newest: list[int] = self._rows.next_token[: len(self._seats)].tolist()
        counts = [seat.steps(self._clock) for seat in self._seats]
        return [Written(*row) for row in zip(self._seats, counts, newest, strict=True) if row[1]]

    def _has_room(self) -> bool:
        free = self._max_rows - len(self._seats)
        if not self._waiting or len(self._waiting[0].samples) > free:
            return False
        return not self._seats or free >= self._max_rows // _REFILL_SHARE

    def _seat_waiting(self) -> dict[int, Verdict]:
        first, placed = len(self._seats), []
        for group, encoded in sorted(self._called_up(), key=lambda called: len(called[1].ids), reverse=True):
            placed.append(self._take_seats(group, encoded))
        if not placed:
            return {}
        self._cache.reserve(max(len(p.encoded.ids) for p in placed) + _FIRST_COLUMNS)
        for batch in length_batches(placed):
            with rollout_mode(self._attention_configs):
                deltas = prefill(self._model, self._cache, batch)
            for prompt, delta in zip(batch, deltas, strict=True):
                self._write_rows(prompt, delta)
        # Budgets of zero are spent before the first step.
        newcomers = range(first, len(self._seats))
        spent = [row for row in newcomers if self._seats[row].course.deadline == 0]
        return {row: self._seats[row].course.check_budget(0) for row in spent}

    def _called_up(self) -> list[tuple[Group, Encoded]]:
        free, called = self._max_rows - len(self._seats), []
        while self._waiting and len(self._waiting[0].samples) <= free:
            group = self._waiting.popleft()
            try:
                encoded = group.encode()
            except PromptError as error:
                self._refused += [refusal(group.prompt_id, sample, str(error)) for sample in group.samples]
                continue
            free -= len(group.samples)
            called.append((group, encoded))
        return called

    def _take_seats(self, group: Group, encoded: Encoded) -> Placed:
        opened = self._read(encoded.ids, TAIL_TOKENS).rstrip().endswith(THINK_OPEN)
        first = len(self._seats)
        for sample in group.samples:
            course = group.course or Course(group.sampling, self._exit_tokens, opened)
            born = self._clock - len(group.written)
            self._seats.append(Seat(group, sample, encoded.ids, course, born))
        begun = replace(encoded, ids=(*encoded.ids, *group.written))
        return Placed(begun, range(first, len(self._seats)))

    def _write_rows(self, placed: Placed, rope_delta: int) -> None:
        seats = [self._seats[row] for row in placed.rows]
        group, deadline = seats[0].group, seats[0].course.deadline
        keys = [stream_key(group.sampling.seed, group.stream, seat.sample) for seat in seats]
        ids, temperature = placed.encoded.ids, group.sampling.temperature
        self._rows.seat(placed.rows, ids, rope_delta, keys, deadline, temperature, len(group.written))

    def _step(self) -> dict[int, Verdict]:
        active, rows = len(self._seats), self._rows
        logits_AV = self._forward(active).float()
        logits_AV[:, self._banned_X] = float("-inf")
        uniform_A = uniforms(rows.key[:active], rows.step[:active])
        drawn = draw(logits_AV, self._temperature(), uniform_A)
        asked_A = rows.record(active, drawn, self._exit_ids_E, self._notable_V)
        self._clock += 1
        asked: list[int] = asked_A.nonzero()[:, 0].tolist()
        return self._check(asked) if asked else {}

    def _temperature(self) -> float | Tensor:
        """One for all where they agree, which is cheaper."""
        (first, *others) = {seat.group.sampling.temperature for seat in self._seats}
        return self._rows.temperature[: len(self._seats)] if others else first

    def _forward(self, active: int) -> Tensor:
        rows = self._rows
        lengths = [seat.column(self._clock) + 1 for seat in self._seats]
        span = max(lengths)
        self._cache.reserve(span)
        column_A = rows.length[:active]
        self._cache.begin(Decode(column_A, rows.index[:active], span))
        unseen_AS = torch.arange(span, device=column_A.device) > column_A[:, None]
        mask_AS = torch.where(unseen_AS, float("-inf"), 0.0)
        with rollout_mode(self._attention_configs):
            output = self._model(
                input_ids=rows.next_token[:active, None],
                position_ids=(column_A + rows.rope_delta[:active])[:, None],
                attention_mask=mask_AS[:, None, None],
                past_key_values=self._cache,
                use_cache=True,
                row_blocks=row_blocks(lengths),
            )
        logits_AV: Tensor = output.logits[:, -1]
        return logits_AV

    def _check(self, asked: list[int]) -> dict[int, Verdict]:
        verdicts: dict[int, Verdict] = {}
        for row, tail in zip(asked, self._rows.tails(asked, TAIL_TOKENS), strict=True):
            seat = self._seats[row]
            stopped = tail[-1] in self._vocabulary.stops
            verdicts[row] = seat.course.check(seat.steps(self._clock), stopped, partial(self._read, tail))
        return verdicts

    def _obey(self, verdicts: dict[int, Verdict]) -> list[Rollout]:
        rollouts, leaving = [], []
        for row, verdict in verdicts.items():
            if verdict == "eos" or verdict == "length":
                rollouts.append(self._finish(row, verdict))
                leaving.append(row)
            else:
                self._rows.deadline[row] = self._seats[row].course.deadline
                self._rows.exit_step[row] = 0 if verdict == "force exit" else NO_EXIT
        if leaving:
            self._leave(set(leaving))
        return rollouts

    def _finish(self, row: int, stop: Stop) -> Rollout:
        seat = self._seats[row]
        steps = seat.steps(self._clock)
        return to_rollout(
            seat,
            self._rows.token_RS[row, :steps].tolist(),
            self._rows.logprob_RS[row, :steps].tolist(),
            stop,
            self._exit_tokens,
            self._loaded.tokenizer,
        )

    def _leave(self, leaving: set[int]) -> None:
        """The last rows take the places that became free, so that those in use stay together."""
        staying = len(self._seats) - len(leaving)
        free = [row for row in sorted(leaving) if row < staying]
        movers = [row for row in range(staying, len(self._seats)) if row not in leaving]
        for source, target in zip(movers, free, strict=True):
            self._seats[target] = self._seats[source]
        del self._seats[staying:]
        if movers:
            device = self._rows.index.device
            source_M, target_M = torch.tensor(movers, device=device), torch.tensor(free, device=device)
            self._rows.move(source_M, target_M)
            self._cache.move(source_M, target_M, max(self._seats[row].column(self._clock) for row in free))

    def _read(self, ids: Sequence[int], last: int) -> str:
        return str(self._loaded.tokenizer.decode(list(ids[-last:]), clean_up_tokenization_spaces=False))

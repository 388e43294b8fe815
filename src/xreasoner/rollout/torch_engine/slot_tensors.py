"""The slots' state on the device: one row a slot, active slots first.

Suffixes: A active rows, R all rows, S generated tokens, E tokens of both exits, V vocabulary, N some
rows, K last tokens, C tokens since the last check.
"""

import torch
from torch import Tensor

from xreasoner.rollout.torch_engine.sampler import Draw


class SlotTensors:
    """Everything a decoding step needs, so that it can run without reading anything back to the host."""

    def __init__(self, rows: int, max_tokens: int, device: torch.device) -> None:
        def column() -> Tensor:
            return torch.zeros(rows, dtype=torch.int64, device=device)

        self.index = torch.arange(rows, device=device)
        self.next_token, self.length, self.rope_delta = column(), column(), column()
        self.key, self.step = column(), column()
        self.used = column()
        """1 for a row in use. Others may take part in a step, but stay where they are."""
        self.exit_step, self.exit_end = column(), column()
        self.temperature = torch.zeros(rows, device=device)
        self.token_RS = torch.zeros(rows, max_tokens, dtype=torch.int64, device=device)
        self.logprob_RS = torch.zeros(rows, max_tokens, device=device)

    def fill(
        self,
        rows: range,
        ids: tuple[int, ...],
        rope_delta: int,
        keys: list[int],
        temperature: float,
        prefix: int = 0,
    ) -> None:
        """Set up new slots. The last `prefix` ids are not prompt but the rollout's first tokens."""
        here = slice(rows.start, rows.stop)
        self.next_token[here], self.length[here] = ids[-1], len(ids) - 1
        self.rope_delta[here], self.temperature[here], self.used[here] = rope_delta, temperature, 1
        self.key[here] = torch.tensor(keys, device=self.key.device)
        self.step[here], self.exit_step[here], self.exit_end[here] = prefix, 0, 0
        self.token_RS[here, :prefix] = torch.tensor(ids[len(ids) - prefix :], device=self.key.device)
        self.logprob_RS[here, :prefix] = 0.0

    def move(self, source: Tensor, target: Tensor) -> None:
        state = (
            self.next_token,
            self.length,
            self.rope_delta,
            self.key,
            self.step,
            self.exit_step,
            self.exit_end,
            self.temperature,
        )
        for tensor in (*state, self.token_RS, self.logprob_RS):
            tensor[target] = tensor[source]

    def release(self, rows: slice) -> None:
        """Nobody uses these rows any more. In a step they cost as little as the shortest row."""
        for tensor in (self.length, self.step, self.exit_step, self.exit_end, self.used):
            tensor[rows] = 0

    def append(self, rows: int, drawn: Draw, exit_ids_E: Tensor) -> None:
        """Append to every used one of the first rows its drawn token, or the next one of its forced exit."""
        row_A, step_A, exit_step_A = self.index[:rows], self.step[:rows], self.exit_step[:rows]
        used_A, injected_A = self.used[:rows], exit_step_A < self.exit_end[:rows]
        exit_id_A = exit_ids_E[exit_step_A.clamp(max=len(exit_ids_E) - 1)]
        token_A = torch.where(injected_A, exit_id_A, drawn.token_A)
        self.token_RS[row_A, step_A] = token_A
        self.logprob_RS[row_A, step_A] = drawn.logprob_A.masked_fill(injected_A, 0.0)
        self.next_token[:rows] = token_A
        exit_step_A += injected_A
        step_A += used_A
        self.length[:rows] += used_A

    def force_exit(self, row: int, first: int, count: int, take_back: int) -> None:
        """Inject these tokens of the exit next, in place of the last `take_back` tokens."""
        self.exit_step[row], self.exit_end[row] = first, first + count
        if take_back:
            self.step[row] -= take_back
            self.length[row] -= take_back
            self.next_token[row] = self.token_RS[row, self.step[row] - 1]

    def find(self, active: int, last: int, notable_V: Tensor) -> list[list[int]]:
        """Row and position of each notable token among the `last` ones of every active row."""
        position_AC = self.step[:active, None] - torch.arange(last, 0, -1, device=self.index.device)
        token_AC = self.token_RS[self.index[:active, None], position_AC]
        found: list[list[int]] = notable_V[token_AC].nonzero().tolist()
        return found

    def tails(self, rows: list[int], size: int) -> list[list[int]]:
        """The last tokens of some rows; short ones are padded at the front with their first token."""
        row_N = torch.tensor(rows, device=self.index.device)
        position_NK = self.step[row_N][:, None] - torch.arange(size, 0, -1, device=row_N.device)
        tails: list[list[int]] = self.token_RS[row_N[:, None], position_NK.clamp(0)].tolist()
        return tails

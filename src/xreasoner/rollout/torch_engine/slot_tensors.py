"""The slots' state on the device: one row a slot, active slots first.

Suffixes: A active rows, R all rows, S generated tokens, E tokens of both exits, V vocabulary, N some
rows, K last tokens.
"""

import torch
from torch import Tensor

from xreasoner.rollout.torch_engine.sampler import Draw

NO_EXIT = -1


class SlotTensors:
    """Everything a decoding step needs, so that it can run without reading anything back to the host."""

    def __init__(self, rows: int, max_tokens: int, device: torch.device) -> None:
        def column(fill: int = 0) -> Tensor:
            return torch.full((rows,), fill, dtype=torch.int64, device=device)

        self.index = torch.arange(rows, device=device)
        self.next_token, self.length, self.rope_delta = column(), column(), column()
        self.key, self.step, self.deadline, self.exit_step = column(), column(), column(), column(NO_EXIT)
        self.temperature = torch.zeros(rows, device=device)
        self.token_RS = torch.zeros(rows, max_tokens, dtype=torch.int64, device=device)
        self.logprob_RS = torch.zeros(rows, max_tokens, device=device)

    def fill(
        self,
        rows: range,
        ids: tuple[int, ...],
        rope_delta: int,
        keys: list[int],
        deadline: int,
        temperature: float,
        prefix: int = 0,
    ) -> None:
        """Set up new slots. The last `prefix` ids are not prompt but the rollout's first tokens."""
        here = slice(rows.start, rows.stop)
        self.next_token[here], self.length[here] = ids[-1], len(ids) - 1
        self.rope_delta[here], self.deadline[here] = rope_delta, deadline
        self.temperature[here] = temperature
        self.key[here] = torch.tensor(keys, device=self.key.device)
        self.step[here], self.exit_step[here] = prefix, NO_EXIT
        self.token_RS[here, :prefix] = torch.tensor(ids[len(ids) - prefix :], device=self.key.device)
        self.logprob_RS[here, :prefix] = 0.0

    def move(self, source: Tensor, target: Tensor) -> None:
        state = (
            self.next_token,
            self.length,
            self.rope_delta,
            self.key,
            self.step,
            self.deadline,
            self.exit_step,
            self.temperature,
        )
        for tensor in (*state, self.token_RS, self.logprob_RS):
            tensor[target] = tensor[source]

    def append(self, active: int, drawn: Draw, exit_ids_E: Tensor, notable_V: Tensor) -> Tensor:
        """Append one token to every active row; return which rows the host must check."""
        row_A, step_A, exit_step_A = self.index[:active], self.step[:active], self.exit_step[:active]
        injected_A = exit_step_A != NO_EXIT
        token_A = torch.where(injected_A, exit_ids_E[exit_step_A.clamp(0)], drawn.token_A)
        self.token_RS[row_A, step_A] = token_A
        self.logprob_RS[row_A, step_A] = drawn.logprob_A.masked_fill(injected_A, 0.0)
        self.next_token[:active] = token_A
        exit_step_A += injected_A
        step_A += 1
        self.length[:active] += 1
        return (notable_V[token_A] & ~injected_A) | (step_A >= self.deadline[:active])

    def tails(self, rows: list[int], size: int) -> list[list[int]]:
        """The last tokens of some rows; short ones are padded at the front with their first token."""
        row_N = torch.tensor(rows, device=self.index.device)
        position_NK = self.step[row_N][:, None] - torch.arange(size, 0, -1, device=row_N.device)
        tails: list[list[int]] = self.token_RS[row_N[:, None], position_NK.clamp(0)].tolist()
        return tails

"""The rows being generated: small tensors on the device, one entry a row, active rows first."""

import torch
from torch import Tensor

from xreasoner.rollout.torch_engine.sampler import Draw

NO_EXIT = -1


class Rows:
    """What the device must know of every row to take a step without asking Python."""

    def __init__(self, count: int, max_tokens: int, device: torch.device) -> None:
        def column(fill: int = 0) -> Tensor:
            return torch.full((count,), fill, dtype=torch.int64, device=device)

        self.index = torch.arange(count, device=device)
        self.next_token, self.length, self.rope_delta = column(), column(), column()
        self.key, self.step, self.deadline, self.exit_step = column(), column(), column(), column(NO_EXIT)
        self.temperature = torch.zeros(count, device=device)
        self.token_RS = torch.zeros(count, max_tokens, dtype=torch.int64, device=device)
        self.logprob_RS = torch.zeros(count, max_tokens, device=device)

    def seat(
        self,
        rows: range,
        ids: tuple[int, ...],
        rope_delta: int,
        keys: list[int],
        deadline: int,
        temperature: float,
        written: int = 0,
    ) -> None:
        """The last `written` ids are no prompt, but what the rows begin with, of unknown probability."""
        here = slice(rows.start, rows.stop)
        self.next_token[here], self.length[here] = ids[-1], len(ids) - 1
        self.rope_delta[here], self.deadline[here] = rope_delta, deadline
        self.temperature[here] = temperature
        self.key[here] = torch.tensor(keys, device=self.key.device)
        self.step[here], self.exit_step[here] = written, NO_EXIT
        self.token_RS[here, :written] = torch.tensor(ids[len(ids) - written :], device=self.key.device)
        self.logprob_RS[here, :written] = 0.0

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

    def record(self, active: int, drawn: Draw, exit_ids_E: Tensor, notable_V: Tensor) -> Tensor:
        """Append one token to every active row; tell which rows Python must look at."""
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
        """The last tokens of some rows, short ones padded in front with their first token."""
        row_N = torch.tensor(rows, device=self.index.device)
        place_NK = self.step[row_N][:, None] - torch.arange(size, 0, -1, device=row_N.device)
        tails: list[list[int]] = self.token_RS[row_N[:, None], place_NK.clamp(0)].tolist()
        return tails

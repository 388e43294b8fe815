"""Any server that speaks OpenAI's chat protocol, asked by many threads at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from xreasoner.chat.think import FORCED_EXIT
from xreasoner.recipe.settings import ExitBy
from xreasoner.records import Prompt, Rollout, Sampling, Stop
from xreasoner.rollout.engine import Begun
from xreasoner.rollout.server_engine.client import Client, RefusedError, SilentError
from xreasoner.rollout.server_engine.forced_exit import answer_in_legs
from xreasoner.rollout.server_engine.settings import Server
from xreasoner.rollout.server_engine.wire import Said, as_message, seed_of, thought_tokens

__all__ = ["ApiEngine", "Server", "ServerRollout"]

EXIT_ROOM = len(FORCED_EXIT)
"""More tokens than the injected text can have."""
_EXIT_OF = {"xreasoner": "budget", "vllm": "again", "sglang": "again"}


@dataclass(frozen=True)
class ServerRollout(Rollout):
    """Servers do not give their tokens, but count them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of all requests that this answer took, as they are billed."""
    unanswered: bool = False
    """Its trouble is that the tries ran out; nobody refused it, another time it may be answered."""


class ApiEngine:
    def __init__(self, server: Server) -> None:
        self._server, self._client = server, Client(server)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        return self._ask_all(((prompt, n) for prompt in prompts for n in range(sampling.n)), sampling)

    def resume(self, begun: Sequence[Begun], sampling: Sampling) -> Iterator[Rollout]:
        """Servers take no tokens: just these samples, from their start."""
        return self._ask_all(((one.prompt, one.sample) for one in begun), sampling)

    def _ask_all(self, asked: Iterator[tuple[Prompt, int]], sampling: Sampling) -> Iterator[Rollout]:
        """What stayed without an answer comes last: if the server is gone for good, it is not on record."""
        silent: list[ServerRollout] = []
        in_a_row, answered = 0, False
        for rollout in self._as_they_come(asked, sampling):
            if not rollout.unanswered:
                in_a_row, answered = 0, True
                yield rollout
                continue
            silent.append(rollout)
            in_a_row += 1
            if not answered or in_a_row > self._server.concurrency:
                raise self._client.no_answer(rollout.trouble)
        yield from silent

    @cached_property
    def exit_by(self) -> ExitBy:
        """How a thought is closed from here."""
        if self._server.exit_by != "auto":
            return self._server.exit_by
        return _EXIT_OF.get(self._client.owner(), "limit")  # type: ignore[return-value]

    def _as_they_come(
        self, asked: Iterator[tuple[Prompt, int]], sampling: Sampling
    ) -> Iterator[ServerRollout]:
        exit_by = self.exit_by if sampling.forced_exit else "limit"
        pool = ThreadPoolExecutor(self._server.concurrency)
        try:
            running: set[Future[ServerRollout]] = set()
            while True:
                for prompt, sample in islice(asked, self._server.concurrency - len(running)):
                    running.add(pool.submit(self._answer, prompt, sample, sampling, exit_by))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, prompt: Prompt, sample: int, sampling: Sampling, exit_by: ExitBy) -> ServerRollout:
        conversation = _Conversation(self._client, prompt, sample, sampling)
        try:
            match exit_by:
                case "again":
                    return conversation.in_legs()
                case "budget":
                    return conversation.within_budget()
                case _:
                    return conversation.within_limit()
        except RefusedError as refused:
            return conversation.rollout(trouble=str(refused))
        except SilentError as silent:
            return conversation.rollout(trouble=str(silent), unanswered=True)


class _Conversation:
    """All requests about one sample of one prompt."""

    def __init__(self, client: Client, prompt: Prompt, sample: int, sampling: Sampling) -> None:
        self._client, self._prompt, self._sample, self._sampling = client, prompt, sample, sampling
        self._messages = [as_message(message) for message in prompt.messages]
        self._legs: list[Said] = []

    def within_limit(self) -> ServerRollout:
        said = self._ask(max_tokens=self._sampling.think_budget + self._sampling.answer_budget)
        return self.rollout(said.text, _stop(said), False, thought_tokens(said))

    def within_budget(self) -> ServerRollout:
        think, answer = self._sampling.think_budget, self._sampling.answer_budget
        said = self._ask(
            max_tokens=think + EXIT_ROOM + 2 * answer,
            # Servers that do not know the second one take no notice.
            extra_body={"thinking_token_budget": think, "answer_token_budget": answer},
        )
        counted = thought_tokens(said)
        forced = bool(said.extra.get("forced_exit", counted >= think))
        return self.rollout(said.text, _stop(said), forced, counted)

    def in_legs(self) -> ServerRollout:
        answered = answer_in_legs(self._go_on, self._sampling)
        return self.rollout(answered.text, answered.stop, answered.forced_exit, answered.think_tokens)

    def _go_on(self, written: str, tokens: int, stops: Sequence[str]) -> Said:
        extra: dict[str, Any] = {"stop": list(stops)} if stops else {}
        if not written:
            return self._ask(max_tokens=tokens, **extra)
        return self._ask(
            messages=[*self._messages, {"role": "assistant", "content": written}],
            max_tokens=tokens,
            extra_body={"continue_final_message": True, "add_generation_prompt": False},
            **extra,
        )

    def _ask(self, **body: Any) -> Said:
        seed = seed_of(self._sampling.seed, self._prompt.id, self._sample, leg=len(self._legs))
        fixed = {"messages": self._messages, "temperature": self._sampling.temperature, "seed": seed}
        self._legs.append(self._client.ask(**fixed | body))
        return self._legs[-1]

    def rollout(
        self,
        text: str = "",
        stop: Stop = "eos",
        forced_exit: bool = False,
        think_tokens: int = 0,
        trouble: str = "",
        unanswered: bool = False,
    ) -> ServerRollout:
        return ServerRollout(
            prompt_id=self._prompt.id,
            sample=self._sample,
            prompt_ids=(),
            token_ids=(),
            by_policy=(),
            logprobs=(),
            text=text,
            stop=stop,
            forced_exit=forced_exit,
            think_tokens=think_tokens,
            prompt_tokens=sum(leg.prompt_tokens for leg in self._legs),
            completion_tokens=sum(leg.completion_tokens for leg in self._legs),
            trouble=trouble,
            unanswered=unanswered,
        )


def _stop(said: Said) -> Stop:
    return "length" if said.cut else "eos"

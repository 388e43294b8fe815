"""The engine for any server with OpenAI's chat API; many requests are in flight at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle, islice
from typing import Any

from xreasoner.chat.think import ANSWER_EXIT, FORCED_EXIT
from xreasoner.recipe.settings import ExitBy, ServerSettings
from xreasoner.records import Prompt, Rollout, Sampling, Stop
from xreasoner.rollout.engine import PartialRollout
from xreasoner.rollout.forced_exit import max_tokens
from xreasoner.rollout.seeds import chat_seed
from xreasoner.rollout.server_engine.chat_protocol import Completion, as_message, thought_tokens
from xreasoner.rollout.server_engine.client import Client, NoResponseError, RequestRejectedError
from xreasoner.rollout.server_engine.text_segments import generate_in_segments

EXIT_ROOM = max(len(FORCED_EXIT), len(ANSWER_EXIT))
"""An upper bound on the number of injected tokens."""
_EXIT_BY_OWNER: dict[str, ExitBy] = {"xreasoner": "budget", "vllm": "again", "sglang": "again"}


@dataclass(frozen=True)
class ServerRollout(Rollout):
    """Servers return text and token counts, not tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Over all requests that this answer took, as they are billed."""
    unanswered: bool = False
    """The retries ran out, so the request may succeed another time; the server did not reject it."""


class ServerEngine:
    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._clients = [Client(settings, url) for url in settings.urls]
        self._next, self._asked = cycle(self._clients), dict[str, Client]()
        self._concurrency = settings.concurrency * len(self._clients)

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> Iterator[Rollout]:
        return self._run(((prompt, n) for prompt in prompts for n in range(sampling.n)), sampling)

    def resume(self, partials: Sequence[PartialRollout], sampling: Sampling) -> Iterator[Rollout]:
        """Servers accept no token ids, so these samples are generated from the start."""
        return self._run(((partial.prompt, partial.sample) for partial in partials), sampling)

    def _run(self, samples: Iterator[tuple[Prompt, int]], sampling: Sampling) -> Iterator[Rollout]:
        """Unanswered samples come last, so that none is recorded as failed if a server has gone down."""
        unanswered: list[ServerRollout] = []
        in_a_row = dict[Client, int]()
        """Of each server that has answered at all: its samples without an answer since."""
        for rollout in self._as_completed(samples, sampling):
            client = self._client_for(rollout.prompt_id)
            if not rollout.unanswered:
                in_a_row[client] = 0
                yield rollout
                continue
            unanswered.append(rollout)
            if client not in in_a_row or in_a_row[client] >= self._settings.concurrency:
                raise client.no_answer(rollout.trouble)
            in_a_row[client] += 1
        yield from unanswered

    @cached_property
    def exit_by(self) -> ExitBy:
        """How the first server, and so all of them, end a thought; see `ExitBy`."""
        if self._settings.exit_by != "auto":
            return self._settings.exit_by
        return _EXIT_BY_OWNER.get(self._clients[0].owner(), "limit")

    def _client_for(self, prompt_id: str) -> Client:
        """All samples of a prompt come from one server, which caches the prompt."""
        if prompt_id not in self._asked:
            self._asked[prompt_id] = next(self._next)
        return self._asked[prompt_id]

    def _as_completed(
        self, samples: Iterator[tuple[Prompt, int]], sampling: Sampling
    ) -> Iterator[ServerRollout]:
        exit_by = self.exit_by if sampling.forced_exit else "limit"
        pool = ThreadPoolExecutor(self._concurrency)
        try:
            running: set[Future[ServerRollout]] = set()
            while True:
                for prompt, sample in islice(samples, self._concurrency - len(running)):
                    chat = _SampleRequests(self._client_for(prompt.id), prompt, sample, sampling)
                    running.add(pool.submit(self._answer, chat, exit_by))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, chat: "_SampleRequests", exit_by: ExitBy) -> ServerRollout:
        try:
            match exit_by:
                case "again":
                    return chat.in_segments()
                case "budget":
                    return chat.with_budget()
                case _:
                    return chat.with_limit()
        except RequestRejectedError as error:
            return chat.rollout(trouble=str(error))
        except NoResponseError as error:
            return chat.rollout(trouble=str(error), unanswered=True)


class _SampleRequests:
    """All requests for one sample of one prompt."""

    def __init__(self, client: Client, prompt: Prompt, sample: int, sampling: Sampling) -> None:
        self._client, self._prompt, self._sample, self._sampling = client, prompt, sample, sampling
        self._messages = [as_message(message) for message in prompt.messages]
        self._completions: list[Completion] = []

    def with_limit(self) -> ServerRollout:
        completion = self._send(max_tokens=self._sampling.think_budget + self._sampling.answer_budget)
        return self.rollout(completion.text, _stop(completion), False, thought_tokens(completion))

    def with_budget(self) -> ServerRollout:
        think, answer = self._sampling.think_budget, self._sampling.answer_budget
        completion = self._send(
            max_tokens=max_tokens(self._sampling, EXIT_ROOM),
            # Servers that do not know the last two ignore them.
            extra_body={
                "thinking_token_budget": think,
                "answer_token_budget": answer,
                "exit_without_thought": self._sampling.exit_without_thought,
            },
        )
        counted = thought_tokens(completion)
        forced = bool(completion.extra.get("forced_exit", counted >= think))
        return self.rollout(completion.text, _stop(completion), forced, counted)

    def in_segments(self) -> ServerRollout:
        answer = generate_in_segments(self._continue, self._sampling)
        return self.rollout(answer.text, answer.stop, answer.forced_exit, answer.think_tokens)

    def _continue(self, text: str, tokens: int, stops: Sequence[str]) -> Completion:
        extra: dict[str, Any] = {"stop": list(stops)} if stops else {}
        if not text:
            return self._send(max_tokens=tokens, **extra)
        return self._send(
            messages=[*self._messages, {"role": "assistant", "content": text}],
            max_tokens=tokens,
            extra_body={"continue_final_message": True, "add_generation_prompt": False},
            **extra,
        )

    def _send(self, **body: Any) -> Completion:
        segment = len(self._completions)
        seed = chat_seed(self._sampling.seed, self._prompt.id, self._sample, segment)
        fixed = {"messages": self._messages, "temperature": self._sampling.temperature, "seed": seed}
        self._completions.append(self._client.send(**fixed | body))
        return self._completions[-1]

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
            prompt_tokens=sum(one.prompt_tokens for one in self._completions),
            completion_tokens=sum(one.completion_tokens for one in self._completions),
            trouble=trouble,
            unanswered=unanswered,
        )


def _stop(completion: Completion) -> Stop:
    return "length" if completion.cut else "eos"

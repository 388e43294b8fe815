"""The types that every part exchanges, from Problem to Reply; without dependencies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Kind = Literal["math", "choice", "exact", "number", "open"]
"""How answers are compared; `rewards/` has a file for each."""
Modality = Literal["text", "image"]
Role = Literal["system", "user", "assistant"]
Stop = Literal["eos", "length"]
OPTION_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Picture:
    """An encoded image (PNG, JPEG, ...): bytes, so that a problem can be hashed, stored and sent."""

    encoded: bytes = field(repr=False)


Part = str | Picture


@dataclass(frozen=True)
class Problem:
    """One question with a known answer. Two views of the same item share `item`, never `id`."""

    id: str
    question: tuple[Part, ...]
    answer: str
    kind: Kind
    choices: tuple[str, ...] = ()
    choices_in_picture: bool = False
    """The image shows the options, so the prompt does not repeat them."""
    domain: str = "general"
    source: str = ""
    item: str = ""
    reasoning: str = ""
    """The teacher's thought, without tags; empty if there is none."""
    tags: Mapping[str, str | int] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Keys that a report may group by: family, steps, subject."""

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return tuple(part for part in self.question if isinstance(part, Picture))


@dataclass(frozen=True)
class Message:
    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Prompt:
    """The input of an engine: a conversation that ends with the user's turn."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Sampling:
    """How an engine answers a prompt. Temperature 0 is greedy; a budget counts generated tokens."""

    n: int = 1
    temperature: float = 0.0
    think_budget: int = 4096
    """If the thought is still open after this many generated tokens, `</think>` is injected."""
    answer_budget: int = 512
    """Tokens allowed after the thought."""
    forced_exit: bool = True
    """False: the two budgets are one plain limit, and an unfinished thought stays unfinished."""
    seed: int = 0
    exit_without_thought: bool = True
    """Force the exit of a reply without a thought too: at the thinking budget, inject `<answer>`."""


@dataclass(frozen=True)
class Rollout:
    """One sampled answer, token by token. Injected tokens have mask 0 and log-probability 0."""

    prompt_id: str
    sample: int
    prompt_ids: tuple[int, ...] = field(repr=False)
    token_ids: tuple[int, ...] = field(repr=False)
    by_policy: tuple[int, ...] = field(repr=False)
    logprobs: tuple[float, ...] = field(repr=False)
    text: str
    """The generated tokens decoded, tags included, the end-of-turn token left out."""
    stop: Stop
    forced_exit: bool
    think_tokens: int
    """Tokens before the thought closed; 0 if no thought was opened."""
    trouble: str = ""
    """Why the engine could not answer this prompt; empty if it did."""


@dataclass(frozen=True)
class Score:
    """A graded answer that keeps its reason. `correct is None`: it could not be judged."""

    correct: bool | None
    extracted: str | None
    why: str
    rule: str = ""
    """Where the answer was found (`tag`, `box`, `lead`, ...); empty where none was."""

    @property
    def missing(self) -> bool:
        """No answer could be found in the text."""
        return self.extracted is None and self.correct is not None


@dataclass(frozen=True)
class Reply:
    """What a reward function judges: the text of a rollout, its lengths, and its score."""

    text: str
    score: Score
    sample: int
    tokens: int
    think_tokens: int
    limit: int
    """The most tokens that the budgets allow."""
    stop: Stop
    forced_exit: bool

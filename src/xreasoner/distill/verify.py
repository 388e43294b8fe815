"""Whether an answer is usable for training: correct, complete, and without mention of the hint."""

import re

from xreasoner.chat.template import stated_answer
from xreasoner.chat.think import ANSWER_OPEN, THINK_CLOSE, THINK_OPEN, split_thought
from xreasoner.distill.answer_file import Answer, AnswerId, tokens_of
from xreasoner.records import Problem, Rollout
from xreasoner.rewards.grade import Grader

HINT = (
    "\n\nThe correct answer is known to be: {answer}\nWork it out from the question alone, step by step, "
    "and end with that answer. Never mention that you knew it."
)
_TOLD = re.compile(
    r"\b(?:hint(?:s|ed)?|(?:was|been|were|am) (?:told|given) (?:that )?(?:the )?(?:correct )?answer"
    r"|known to be|(?:given|provided|stated|known) (?:correct )?answer|answer is (?:given|known|provided))\b",
    re.IGNORECASE,
)


def hinted(problem: Problem) -> str:
    return HINT.format(answer=stated_answer(problem))


def verify(problem: Problem, key: AnswerId, rollout: Rollout, grader: Grader) -> Answer:
    score = grader.score(problem, rollout.text)
    prompt_tokens, completion_tokens = tokens_of(rollout)
    against = objection(rollout, told=key.round > 0) if score.correct else ""
    return Answer(
        problem=key.problem,
        round=key.round,
        sample=key.sample,
        correct=score.correct,
        usable=bool(score.correct) and not against,
        why=rollout.trouble or against or score.why,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        text=rollout.text,
    )


def objection(rollout: Rollout, told: bool) -> str:
    """Why a correct answer is still not used."""
    thought = split_thought(rollout.text).thought
    if rollout.stop == "length" or rollout.forced_exit:
        return "correct, but truncated"
    if not thought:
        return "correct, but without a thought"
    if any(tag in thought for tag in (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN)):
        return "correct, but with a tag in the thought"
    if told and (found := _TOLD.search(thought)):
        return f"correct, but mentions the hint: {found.group()}"
    return ""

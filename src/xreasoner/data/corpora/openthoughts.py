"""OpenThoughts-114k: chains of thought of DeepSeek-R1, in its two configs."""

from typing import Any

from xreasoner.data.candidates import BadRowError, Candidate, column, sound, sound_thought, text_column
from xreasoner.recipe.training_data import OpenThoughtsData
from xreasoner.records import Problem
from xreasoner.rewards.statements import boxes

THOUGHT = ("<|begin_of_thought|>", "<|end_of_thought|>")
SOLUTION = ("<|begin_of_solution|>", "<|end_of_solution|>")
LONGEST_TRUTH = 200
"""A reference without a box counts as an answer up to this many characters, else as a solution."""


def read_row(row: Any, position: str, key: str, entry: OpenThoughtsData) -> Candidate:
    if entry.config == "metadata":
        return _from_metadata(row, position, key, entry)
    question, reply = _turns(column(row, "conversations"))
    thought, solution = between(reply, *THOUGHT), between(reply, *SOLUTION)
    if reply.index(SOLUTION[0]) < reply.index(THOUGHT[1]):
        raise BadRowError("unbalanced marks", "the solution starts inside the thought")
    return Candidate(_problem(key, question, thought, solution, "", entry), position)


def _turns(conversation: Any) -> tuple[str, str]:
    """Question and reply of a single-turn conversation."""
    if not isinstance(conversation, list) or [
        turn.get("from") if isinstance(turn, dict) else None for turn in conversation
    ] != ["user", "assistant"]:
        raise BadRowError("not one question and one reply")
    return text_column(conversation[0], "value"), text_column(conversation[1], "value")


def between(text: str, opening: str, closing: str) -> str:
    """The text between two marks that must each occur once, in this order."""
    if (text.count(opening), text.count(closing)) != (1, 1) or text.index(closing) < text.index(opening):
        found = f"{text.count(opening)} of {opening}, {text.count(closing)} of {closing}"
        raise BadRowError("unbalanced marks", found)
    return text.partition(opening)[2].partition(closing)[0].strip()


def _from_metadata(row: Any, position: str, key: str, entry: OpenThoughtsData) -> Candidate:
    question = text_column(row, "problem")
    starter = row.get("starter_code")
    if starter:
        question = f"{question}\n\n{sound(str(starter), 'starter_code')}"
    thought, solution = text_column(row, "deepseek_reasoning"), text_column(row, "deepseek_solution")
    domain = str(row.get("domain") or "general")
    problem = _problem(key, question, thought, solution, domain, entry)
    truth = known_answer(str(row.get("ground_truth_solution") or "")) if domain == "math" else ""
    return Candidate(problem, position, truth)


def _problem(
    key: str, question: str, thought: str, solution: str, domain: str, entry: OpenThoughtsData
) -> Problem:
    if not solution:
        raise BadRowError("empty solution")
    held = boxes(solution) if entry.answers == "final" else []
    return Problem(
        id=key,
        item=key,
        question=(question,),
        answer=held[-1] if held and held[-1] else sound(solution, "solution"),
        kind="math",
        domain=domain or "general",
        source="openthoughts",
        reasoning=sound_thought(thought),
    )


def known_answer(reference: str) -> str:
    """The answer of a reference solution: its last box, or the whole text if short, or nothing."""
    held = [box for box in boxes(reference) if box]
    if held:
        return held[-1]
    short = reference.strip()
    return short if len(short) <= LONGEST_TRUTH and "\n" not in short else ""

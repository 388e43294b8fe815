"""Numbers that must be added or subtracted so that they come to a target: the thought searches.

It tries plus before minus at each number, goes back where the end is not the target, and stops at the first
way that works. There is exactly one. Totals outside the world's numbers are not tried.
"""

import random
from collections import Counter

from xreasoner.miniworld.item import Item, Step, arithmetic
from xreasoner.miniworld.lexicon import LARGEST, OPERATORS
from xreasoner.miniworld.scene import Scene, cell

Signs = tuple[str, ...]


def ways(total: int, numbers: tuple[int, ...]) -> list[tuple[Signs, int]]:
    """All signs in the order of the search, with what they come to."""
    if not numbers:
        return [((), total)]
    found: list[tuple[Signs, int]] = []
    for operator in OPERATORS:
        reached = int(arithmetic(total, operator, numbers[0]).result)
        if 0 <= reached <= LARGEST:
            found += [((operator, *signs), end) for signs, end in ways(reached, numbers[1:])]
    return found


def search(total: int, numbers: tuple[int, ...], target: int, steps: list[Step]) -> Signs | None:
    """The signs that reach the target, or None; `steps` receives what was tried."""
    for operator in OPERATORS:
        step = arithmetic(total, operator, numbers[0])
        if not 0 <= int(step.result) <= LARGEST:
            continue
        if len(numbers) == 1:
            is_reached = int(step.result) == target
            steps.append(Step((*step.words, step.result), "yes" if is_reached else "no"))
            if is_reached:
                return (operator,)
            continue
        steps.append(step)
        if (rest := search(int(step.result), numbers[1:], target, steps)) is not None:
            return (operator, *rest)
    return None


def make_signs(rng: random.Random, difficulty: int) -> Item:
    """One more number to sign than the difficulty."""
    while True:
        start, numbers = rng.randint(0, LARGEST), tuple(rng.randint(1, 9) for _ in range(difficulty + 1))
        times = Counter(end for _, end in ways(start, numbers))
        once = [end for end, count in times.items() if count == 1]
        if once:
            break
    target, steps = rng.choice(once), list[Step]()
    signs = search(start, numbers, target, steps)
    assert signs is not None
    answer = " ".join(f"{sign}{number}" for sign, number in zip(signs, numbers, strict=True))
    steps.append(Step(("so",), answer))
    scene = Scene(tuple(cell("glyph", str(number)) for number in (start, *numbers)))
    return Item("signs", "search", difficulty, scene, f"work out {target}", tuple(steps), answer)


def other_signs(answer: str) -> list[str]:
    """The answers with one or two signs changed."""
    words = answer.split()
    flipped = [f"{'-' if word[0] == '+' else '+'}{word[1:]}" for word in words]
    last = range(len(words))
    changed = [{i} for i in last] + [{i, j} for i in last for j in range(i)]
    return [" ".join(flipped[i] if i in some else words[i] for i in last) for some in changed]

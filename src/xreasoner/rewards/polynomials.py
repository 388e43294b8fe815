"""Equality of polynomials with integer coefficients, by expanding; Math-Verify simplifies their difference.

Both say the same: the difference of equal ones cancels to zero, and no other does. Only in a worker process,
because the formulas are sympy's.
"""

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import Any

MOST_TERMS, LARGEST_POWER, LARGEST_NUMBER = 200, 12, 10**9
"""Beyond these Math-Verify decides: it may run out of time, or take a difference for rounding."""
Polynomial = Counter[frozenset[tuple[Any, int]]]
"""The coefficient of each product of powers of symbols."""


def same_polynomial(key: Sequence[Any], told: Sequence[Any]) -> bool | None:
    """Of two results of Math-Verify's parser, each a formula and its text; None if one is no polynomial."""
    from sympy import Add, Basic, Mul, Pow

    if len(key) != 2 or len(told) != 2 or isinstance(key[1], Basic) or isinstance(told[1], Basic):
        return None
    # Single symbols and numbers have rules of their own there.
    if not all(isinstance(one[0], (Add, Mul, Pow)) and one[0].free_symbols for one in (key, told)):
        return None
    first, second = expanded(key[0]), expanded(told[0])
    return None if first is None or second is None else first == second


def expanded(formula: Any) -> Polynomial | None:
    from sympy import Add, Integer, Mul, Pow, Symbol

    if isinstance(formula, Integer):
        return Counter({frozenset(): int(formula)}) if abs(formula) <= LARGEST_NUMBER else None
    if isinstance(formula, Symbol):
        return Counter({frozenset({(formula, 1)}): 1}) if formula.is_commutative else None
    if isinstance(formula, Pow):
        base, power = formula.args
        if not isinstance(power, Integer) or not 1 <= power <= LARGEST_POWER:
            return None
        return combined([base] * int(power), is_sum=False)
    if isinstance(formula, (Add, Mul)):
        return combined(formula.args, is_sum=isinstance(formula, Add))
    return None


def combined(parts: Sequence[Any], is_sum: bool) -> Polynomial | None:
    """Their sum or product."""
    polynomials = [expanded(part) for part in parts]
    known = [one for one in polynomials if one is not None]
    if len(known) < len(polynomials):
        return None
    total = reduce(_sum, known) if is_sum else known[0]
    for factor in () if is_sum else known[1:]:
        if len(total) * len(factor) > MOST_TERMS:
            return None
        total = _product(total, factor)
    return total


def _sum(left: Polynomial, right: Polynomial) -> Polynomial:
    total = Counter(left)
    for powers, coefficient in right.items():
        total[powers] += coefficient
    return Counter({powers: coefficient for powers, coefficient in total.items() if coefficient})


def _product(left: Polynomial, right: Polynomial) -> Polynomial:
    total: Polynomial = Counter()
    for powers, coefficient in left.items():
        for others, factor in right.items():
            both = Counter(dict(powers))
            both.update(dict(others))
            total[frozenset(both.items())] += coefficient * factor
    return Counter({powers: coefficient for powers, coefficient in total.items() if coefficient})

"""Whatever is in a recipe or an override: settings, or one line that says what is wrong."""

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from xreasoner.cli.failures import raised_by_us
from xreasoner.recipe.file import read_recipe, recipe_schema
from xreasoner.recipe.schema import Recipe

RECIPE: dict[str, Any] = {
    "name": "small",
    "model": "miniworld",
    "stages": {
        "sft": {
            "kind": "sft",
            "data": [{"source": "miniworld", "families": ["sums"], "steps": [1, 4], "count": 60}],
            "steps": 30,
        },
        "rl": {"kind": "grpo", "data": [{"source": "jsonl", "path": "a.jsonl"}], "epochs": 1},
    },
    "evaluation": {
        "benchmarks": [
            {"source": "miniworld", "families": ["sums"], "steps": [2, 4], "count": 50},
            {"source": "table", "name": "mine", "path": "a.csv"},
            {"source": "benchmark", "name": "gsm8k"},
        ]
    },
}


def keys_of(schema: Any) -> set[str]:
    """All names that settings have."""
    if isinstance(schema, list):
        return set().union(*map(keys_of, schema))
    if not isinstance(schema, dict):
        return set()
    return set(schema.get("properties", {})).union(*map(keys_of, schema.values()))


KEYS = st.sampled_from(sorted(keys_of(json.loads(recipe_schema())))) | st.sampled_from(
    ["sft", "rl", "0", "1"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["sft", "grpo", "jsonl", "table", "miniworld", "server", "{options: ", "a\0b", "x" * 300]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def recipe_or_one_line(content: bytes, overrides: list[str], folder: Path) -> None:
    path = folder / "fuzzed.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(read_recipe(path, overrides), Recipe)
    except ValueError as error:
        assert raised_by_us(error.__traceback__), repr(error)
        assert "\n" not in str(error) and len(str(error)) < 1500


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@example(b"a: &a [*a]")
@example(b"seed: " + b"9" * 6000)
@example(b"[" * 500)
@example(b"? [a]\n: b")
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    recipe_or_one_line(content, [], tmp_path)


@given(st.data())
def test_any_value_anywhere(tmp_path: Path, data: st.DataObject) -> None:
    """A value put at a random place of a recipe, in place of what is there or beside it."""
    raw = json.loads(json.dumps(RECIPE))
    here: Any = raw
    while True:
        places = list(here) if isinstance(here, dict) else list(range(len(here)))
        place = data.draw(st.sampled_from(places) if places else st.just(None))
        if place is None or not isinstance(here[place], (dict, list)) or data.draw(st.booleans()):
            break
        here = here[place]
    if isinstance(here, dict):
        here[data.draw(KEYS) if data.draw(st.booleans()) else place] = data.draw(VALUES)
    elif place is not None:
        here[place] = data.draw(VALUES)
    written = yaml.safe_dump(raw, allow_unicode=data.draw(st.booleans()))
    recipe_or_one_line(written.encode("utf-8", "surrogatepass"), [], tmp_path)


PATHS = st.lists(KEYS | st.text(max_size=5), min_size=1, max_size=5).map(".".join)
OVERRIDES = st.tuples(PATHS, VALUES.map(json.dumps) | st.text(max_size=20)).map("=".join) | st.text(
    max_size=30
)


@given(st.lists(OVERRIDES, max_size=3))
@example(["sft.betas=[1]"])
@example(["stages=5", "sft.lr=1"])
@example(["evaluation=[]", "evaluation.benchmarks.0.name=x"])
@example(["sft.data.0.steps.0.x=1"])
@example(["sft.lr=\udc80"])
def test_any_override(tmp_path: Path, overrides: list[str]) -> None:
    recipe_or_one_line(yaml.safe_dump(RECIPE).encode(), overrides, tmp_path)

"""Whatever a recipe or an override holds, the answer is a recipe or one line, at once."""

from pathlib import Path

import pytest

from xreasoner.recipe.file import read_recipe

RECIPE = """
name: small
model: miniworld
stages:
  sft:
    kind: sft
    data: [{source: miniworld, families: [sums], steps: [1, 4], count: 60}]
    steps: 30
evaluation:
  benchmarks: [{source: miniworld, families: [sums], steps: [2, 4], count: 50}]
"""
TEN = ",".join
LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{TEN([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGED_LAUGHS = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{TEN([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 12)
)


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(ValueError) as caught:
        read_recipe(path, overrides)
    said = str(caught.value)
    assert "\n" not in said and len(said) < 1100
    return said.removeprefix(str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"name: caf\xe9", ": not UTF-8; save it as UTF-8"),
        (RECIPE.encode("utf-16"), ": not UTF-8; save it as UTF-8"),
        (b"name: \x1b[31m", ":1: invalid YAML: the character U+001B is not allowed"),
        (b"name: x\0", ":1: invalid YAML: the character U+0000 is not allowed"),
        (b"", ": a recipe must be a mapping of keys to settings"),
        (b"- 1", ": a recipe must be a mapping of keys to settings"),
        (b"a: &a [*a]", ":1: invalid YAML: an alias stands for a value that contains it"),
        (b"a: &a {<<: *a}", ":1: invalid YAML: an alias stands for a value that contains it"),
        (LAUGHS.encode(), ":5: invalid YAML: more than 50,000 values"),
        (MERGED_LAUGHS.encode(), ":6: invalid YAML: more than 50,000 values"),
        (
            b"a: &a " + b"x" * 100_000 + b"\nb: [" + b"*a," * 100 + b"]",
            ":2: invalid YAML: more than 50,000 values",
        ),
        (b"[" * 3000, ": invalid YAML: nested too deeply"),
        (b"a: " + b"[" * 60 + b"]" * 60, ":1: invalid YAML: nested too deeply"),
        (b"a" * 300_000, ": invalid YAML: 300,000 characters; the limit is 262,144"),
        (b"a: !!python/object:os.system x", ":1: invalid YAML: the tag !!python/object:os.system is not for"),
        (b"a: !!binary aGk=", ":1: invalid YAML: the tag !!binary is not for recipes"),
        (b"a: !!set {b}", ":1: invalid YAML: the tag !!set is not for recipes"),
        (b"seed: " + b"9" * 6000, ":1: invalid YAML: a number of 6,000 digits"),
        (b"seed: 0x_", ": invalid YAML: a number cannot be read: invalid literal"),
        (b'name: "\\ud800"', ":1: invalid YAML: half of a surrogate pair, which is no character"),
        (b"1: 2", ":1: invalid YAML: a key must be a text; put it in quotes"),
        (b"? [a]\n: b", ":1: invalid YAML: a key must be a text; put it in quotes"),
        (b"name: x\nname: y", ":1: invalid YAML: the key name appears twice"),
        (b'"a\\nb": 1\nname: x\nmodel: m', ": a\\nb: unknown key; valid: "),
        (b"name: " + b"z" * 300 + b"\nmodel: m", ": name: should have at most 100 characters"),
        (
            b"name: x\nmodel: " + b"m" * 300,
            ": model: the path is too long: at most 255 bytes",
        ),
        (b'name: x\nmodel: "a\\0b"', ": model: a path cannot have a NUL character"),
        (b"stages: 5\nname: x\nmodel: m", ": stages: should be an object, not 5"),
    ],
)
def test_odd_files_are_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    assert refusal(path).startswith(said)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sft.betas=[1]", "stages.sft.betas.1: missing"),
        ("sft.betas.0.x=1", "stages.sft.betas: should be a valid array"),
        ("name.x=1", "name is 'small', which has no keys"),
        ("sft.data.0.steps.0.x=1", "stages.sft.data.0.steps.0 is 1, which has no keys"),
        ("sft.data.9=1", "stages.sft.data is a list; use an index from 0 to 0"),
        (f"sft.data.{'9' * 3000}=1", "stages.sft.data is a list; use an index from 0 to 0"),
        ("sft.data.²=1", "stages.sft.data is a list; use an index from 0 to 0"),
        ("evaluation.budgets.0=1", "evaluation.budgets: should be a valid array"),
        ("stages=5", "stages: should be an object"),
        ("stages=[]", "stages: should be an object"),
        ("evaluation=3", "evaluation: should be an object"),
        ("sft.lr=.inf", "stages.sft.lr: should be a finite number"),
        ("sft.lr=.nan", "stages.sft.lr: should be a finite number"),
        ("sft.lr=1e999", "stages.sft.lr: should be a finite number"),
        ("sft.lr=&a [*a]", "invalid YAML: an alias stands for a value that contains it"),
        ("sft.lr=\udc80", "sft.lr=\\udc80:1: invalid YAML: the character U+DC80 is not allowed"),
        ("sft.a\nb=1", "stages.sft.a\\nb: unknown key"),
        ("a" * 5000 + "=1", "longer than 4,000 characters"),
        ("seed=-1", "seed: should be greater than or equal to 0"),
        ("seed=18446744073709551616", "seed: should be less than 9223372036854775808"),
        ("sft.steps=1000000000001", "stages.sft.steps: should be less than or equal to 1000000000000"),
        ("sft.epochs=1e308", "stages.sft.epochs: should be less than or equal to 1000000"),
        ("sft.data.0.count=10000000", "stages.sft.data.0.count: should be less than or equal to 1000000"),
        ("evaluation.temperature=1e308", "temperature: 1e+308 is neither 0, which is greedy, nor from 0.01"),
        ("evaluation.temperature=1e-45", "temperature: 1e-45 is neither 0, which is greedy, nor from 0.01"),
    ],
)
def test_odd_overrides_are_one_line(override: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    assert said in refusal(path, override)


def test_what_is_unusual_but_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    written = RECIPE.replace("seed: 0", "seed: 0x10") + "  budgets: &b [8, 16]\nabout_minutes: 2_0.5e0\n"
    path.write_bytes(("\ufeff" + written.replace("steps: 30", "steps: &n 30")).encode())
    recipe = read_recipe(path, ["instruction=2024-01-01", "sft.checkpoint_every=7", "sft.betas=[0.8, 0.9]"])
    assert (recipe.instruction, recipe.evaluation.budgets, recipe.about_minutes) == (
        "2024-01-01",
        (8, 16),
        20.5,
    )
    assert recipe.stages["sft"].betas == (0.8, 0.9)


def test_a_switch_is_no_share(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(RECIPE.replace("count: 60", "count: 60, choices: true"))
    wanted = "stages.sft.data.0.choices: a number from 0 to 1 is wanted, not true or false"
    assert refusal(tmp_path / "r.yaml").startswith(f": {wanted}")

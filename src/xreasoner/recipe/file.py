"""Read a recipe from YAML and apply dotted overrides; each mistake is one line that names its place."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from xreasoner.recipe.errors import explain, one_line, shortened
from xreasoner.recipe.schema import Recipe
from xreasoner.recipe.shipped import recipe_path
from xreasoner.recipe.yaml_text import parse_yaml

LONGEST_OVERRIDE = 4000
Raw = dict[str, Any]
SettingsModel = TypeVar("SettingsModel", bound=BaseModel)


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in `path`, a file or the name of a shipped one, with `key=value` overrides in order."""
    raw, changed = read_raw(path, overrides, "recipe")
    return check(raw, str(path), changed)


def read_raw(path: Path, overrides: Sequence[str], what: str) -> tuple[Raw, dict[str, str]]:
    """The settings in a file with the overrides applied, and for each dotted key the override that set it."""
    path = recipe_path(path, what)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not UTF-8; save it as UTF-8") from None
    raw = parse_yaml(text, str(path))
    if not isinstance(raw, dict):
        raise ValueError(f"{path}: a {what} must be a mapping of keys to settings")
    return raw, {".".join(override_into(raw, override)): override for override in overrides}


def check(raw: Raw, where: str, changed: dict[str, str] | None = None) -> Recipe:
    stages = raw.get("stages")
    if isinstance(stages, dict):
        raw = {**raw, "stages": {name: stage for name, stage in stages.items() if stage is not None}}
    return validate(Recipe, raw, where, changed or {})


def validate(model: type[SettingsModel], raw: Raw, where: str, changed: Mapping[str, str]) -> SettingsModel:
    """Without type coercion; `changed` maps a dotted key to the override that set it."""
    try:
        # Through JSON: strict mode then turns lists into tuples and strings into paths, nothing else.
        return model.model_validate_json(json.dumps(raw), strict=True, by_name=False)
    except ValidationError as error:
        raise ValueError(explain(error, raw, model, where, changed)) from None


def override_into(raw: Raw, override: str) -> list[str]:
    """Write `sft.lr=5e-4` into the raw recipe; returns the full path of the key, `stages` included."""
    shown = one_line(override)
    if len(override) > LONGEST_OVERRIDE:
        raise ValueError(
            f"{shown[:100]}...: longer than {LONGEST_OVERRIDE:,} characters; write it into the file"
        )
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ValueError(f"{shown}: an override must be KEY=VALUE, as in sft.lr=5e-4")
    stages = raw.get("stages")
    if path[0] not in Recipe.model_fields and isinstance(stages, dict) and path[0] in stages:
        path = ["stages", *path]
    parent: Any = raw
    for index, part in enumerate(path[:-1]):
        parent = _step_into(parent, part, shown, ".".join(path[:index]))
    _put(parent, path[-1], parse_yaml(value, shown), shown, ".".join(path[:-1]))
    return path


def _step_into(parent: Any, part: str, override: str, where: str) -> Any:
    at: Any = _index(parent, part, override, where) if isinstance(parent, list) else part
    if isinstance(parent, dict) and parent.get(part) is None:
        parent[part] = {}  # a section that is null or missing
    if not isinstance(parent[at], (dict, list)):
        inside = f"{where}.{part}".lstrip(".")
        raise ValueError(f"{override}: {inside} is {shortened(parent[at])}, which has no keys")
    return parent[at]


def _put(parent: Any, part: str, value: Any, override: str, where: str) -> None:
    parent[_index(parent, part, override, where) if isinstance(parent, list) else part] = value


def _index(parent: list[Any], part: str, override: str, where: str) -> int:
    places = list(map(str, range(len(parent))))
    if part not in places:
        valid = (
            f"an index from 0 to {places[-1]}" if places else "an index, but it is empty: give the whole list"
        )
        raise ValueError(f"{override}: {where} is a list; use {valid}")
    return places.index(part)


def write_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML, defaults included."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)


def recipe_schema() -> str:
    """The JSON schema of recipes, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

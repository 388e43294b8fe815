"""Read a recipe from YAML and apply dotted overrides; each mistake is one line that names its place."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from xreasoner.recipe.errors import explain
from xreasoner.recipe.schema import Recipe

Raw = dict[str, Any]
SettingsModel = TypeVar("SettingsModel", bound=BaseModel)


class RecipeLoader(yaml.SafeLoader):
    """YAML as users expect it: 5e-4 is a number, and a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key_node.value for key_node, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key} appears twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


RecipeLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d[\d_]*(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in `path`, with `key=value` overrides applied in order."""
    raw, changed = read_raw(path, overrides, "recipe")
    return check(raw, str(path), changed)


def read_raw(path: Path, overrides: Sequence[str], what: str) -> tuple[Raw, dict[str, str]]:
    """The settings in a file with the overrides applied, and for each dotted key the override that set it."""
    if not path.is_file():
        raise ValueError(f"{path}: no such {what} file")
    raw = parse_yaml(path.read_text(encoding="utf-8"), str(path))
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
        return model.model_validate_json(json.dumps(raw, default=str), strict=True, by_name=False)
    except ValidationError as error:
        raise ValueError(explain(error, raw, model, where, changed)) from None


def parse_yaml(text: str, where: str) -> Any:
    try:
        return yaml.load(text, RecipeLoader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{where}{line}: invalid YAML: {error.problem}") from None


def override_into(raw: Raw, override: str) -> list[str]:
    """Write `sft.lr=5e-4` into the raw recipe; returns the full path of the key, `stages` included."""
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ValueError(f"{override}: an override must be KEY=VALUE, as in sft.lr=5e-4")
    if path[0] not in Recipe.model_fields and path[0] in (raw.get("stages") or {}):
        path = ["stages", *path]
    parent: Any = raw
    for index, part in enumerate(path[:-1]):
        parent = _step_into(parent, part, override, ".".join(path[:index]))
    _put(parent, path[-1], parse_yaml(value, override), override, ".".join(path[:-1]))
    return path


def _step_into(parent: Any, part: str, override: str, where: str) -> Any:
    if isinstance(parent, list):
        return parent[_index(parent, part, override, where)]
    if parent.get(part) is None:
        parent[part] = {}  # a section that is null or missing
    if not isinstance(parent[part], (dict, list)):
        inside = f"{where}.{part}".lstrip(".")
        raise ValueError(f"{override}: {inside} is {parent[part]!r}, which has no keys")
    return parent[part]


def _put(parent: Any, part: str, value: Any, override: str, where: str) -> None:
    parent[_index(parent, part, override, where) if isinstance(parent, list) else part] = value


def _index(parent: list[Any], part: str, override: str, where: str) -> int:
    if not part.isdecimal() or int(part) >= len(parent):
        raise ValueError(f"{override}: {where} is a list; use an index from 0 to {len(parent) - 1}")
    return int(part)


def write_recipe(recipe: Recipe) -> str:
    """The whole recipe as YAML, defaults included."""
    return yaml.safe_dump(recipe.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True)


def recipe_schema() -> str:
    """The JSON schema of recipes, for editors."""
    return json.dumps(Recipe.model_json_schema(), indent=2, ensure_ascii=False) + "\n"

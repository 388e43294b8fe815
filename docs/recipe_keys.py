"""Writes every key of a recipe into recipes.md, from the settings: `python docs/recipe_keys.py`."""

import json
from pathlib import Path
from typing import Any

from xreasoner.recipe.schema import Recipe

PAGE = Path(__file__).parent / "recipes.md"
BEGIN, END = "<!-- made by docs/recipe_keys.py -->\n", "<!-- end -->\n"
Schema = dict[str, Any]

TITLES = {
    "Recipe": "The recipe",
    "SftStage": "A stage of `kind: sft`",
    "GrpoStage": "A stage of `kind: grpo`",
    "Reward": "`rewards` of a GRPO stage",
    "Lora": "`lora`",
    "Filters": "`filters`",
    "PassRates": "`filters.pass_rates`",
    "Evaluation": "`evaluation`",
    "ServerSettings": "`server`",
    "Columns": "`columns` of a table",
}
DATA, BENCHMARKS = "`data`: {}", "`evaluation.benchmarks`: {}"


def made() -> str:
    schema = Recipe.model_json_schema()
    parts = schema["$defs"] | {"Recipe": schema}
    titles = dict(TITLES)
    for pattern, places in ((DATA, ("SftStage", "data")), (BENCHMARKS, ("Evaluation", "benchmarks"))):
        section, key = places
        variants = parts[section]["properties"][key]["items"]["discriminator"]["mapping"]
        for name, ref in variants.items():
            titles[ref.rsplit("/", 1)[-1]] = pattern.format(f"`source: {name}`")
    assert set(titles) == {name for name, part in parts.items() if "properties" in part}
    return "\n".join(section_text(title, parts[name], parts) for name, title in titles.items())


def section_text(title: str, part: Schema, parts: Schema) -> str:
    about = part.get("description", "").replace("\n", " ")
    required = set(part.get("required", []))
    rows = [row(key, value, key in required, parts) for key, value in part["properties"].items()]
    table = "\n".join(["| key | takes | default | |", "|---|---|---|---|", *rows])
    return f"## {title}\n\n{about}\n\n{table}\n"


def row(key: str, value: Schema, is_required: bool, parts: Schema) -> str:
    if "default" not in value:
        default = "required" if is_required else ""
    elif value["default"] in (None, [], {}) or isinstance(value["default"], dict):
        default = ""
    else:
        default = shown(value["default"])
    about = " ".join(value.get("description", "").split()).replace("|", "\\|")
    return f"| `{key}` | {takes(value, parts)} | {default} | {about} |"


def shown(value: Any) -> str:
    text = json.dumps(value)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def takes(value: Schema, parts: Schema) -> str:
    """In words: `integer`, `list of strings`, `sft or grpo`."""
    if "$ref" in value:
        name = value["$ref"].rsplit("/", 1)[-1]
        return takes(parts[name], parts) if "properties" not in parts[name] else link(name)
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if options := value.get("anyOf") or value.get("oneOf"):
        kinds = dict.fromkeys(takes(one, parts) for one in options if one.get("type") != "null")
        return " or ".join(kinds) if len(kinds) <= 3 else "one of the sources below"
    if value.get("type") == "array":
        inner = value.get("items") or (value.get("prefixItems") or [{}])[0]
        return f"list: {takes(inner, parts)}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties") or next(
            iter(value.get("patternProperties", {}).values()), {}
        )
        return f"names, each with {takes(inner, parts)}" if inner else "mapping"
    return bounded(value)


def bounded(value: Schema) -> str:
    kind = {"string": "text", "boolean": "`true`, `false`"}.get(
        value.get("type", ""), value.get("type", "any")
    )
    least, most = value.get("minimum"), value.get("maximum")
    if value.get("exclusiveMinimum") == 0 or least == 1:
        kind += " above 0"
    elif least is not None:
        kind += f" from {least:g}"
    return kind + (f" to {most:g}" if most is not None and most <= 1e6 else "")


def link(name: str) -> str:
    title = TITLES.get(name, name)
    anchor = "".join(c for c in title.lower() if c.isalnum() or c in " -_").replace(" ", "-")
    return f"[{title}](#{anchor})" if name in TITLES else name


def with_keys(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{made()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(with_keys(PAGE.read_text()))

"""The one-line error for an invalid recipe: which key, in which file, and what was probably meant."""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
Location = tuple[int | str, ...]
Schema = dict[str, Any]


def explain(
    error: ValidationError, raw: Any, model: type[BaseModel], where: str, changed: Mapping[str, str]
) -> str:
    """The first mistake, and the number of further ones."""
    mistakes = error.errors()
    first = mistakes[0]
    key = ".".join(map(str, written_path(raw, first)))
    override = next((text for path, text in changed.items() if _is_part_of(key, path)), None)
    place = f"{where} with {override}" if override else where
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    said = what_is_wrong(first, raw, schema_of(model))
    return one_line(f"{place}: {key}: {said}{more}" if key else f"{place}: {said}{more}")


@cache
def schema_of(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _is_part_of(key: str, path: str) -> bool:
    """Whether one of two dotted keys contains the other."""
    return bool(key) and (f"{key}.".startswith(f"{path}.") or f"{path}.".startswith(f"{key}."))


def written_path(raw: Any, mistake: ErrorDetails) -> list[int | str]:
    """The path of a mistake in the file: pydantic's location without the tags of unions."""
    path: list[int | str] = []
    here = raw
    for index, part in enumerate(mistake["loc"]):
        is_last = index == len(mistake["loc"]) - 1
        if _has(here, part):
            path.append(part)
            here = here[part]
        elif is_last and mistake["type"] == "missing":
            path.append(part)
    if mistake["type"].startswith("union_tag"):
        path.append(str(mistake["ctx"]["discriminator"]).strip("'"))
    return path


def _has(here: Any, part: int | str) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, dict) and part in here


def what_is_wrong(mistake: ErrorDetails, raw: Any, schema: Schema) -> str:
    kind, context = mistake["type"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        valid = keys_at(schema, mistake["loc"][:-1])
        if len(mistake["loc"]) == 1:
            valid += list(raw["stages"]) if isinstance(raw.get("stages"), dict) else []
        return f"unknown key; {nearest(str(mistake['loc'][-1]), valid)}"
    if kind == "missing":
        return "missing"
    if kind == "union_tag_not_found":
        tags = tags_at(schema, mistake["loc"])
        return f"missing; valid: {', '.join(tags)}"
    if kind == "union_tag_invalid":
        return (
            f"{context['tag']!r} is unknown; {nearest(str(context['tag']), tags_at(schema, mistake['loc']))}"
        )
    if kind == "value_error":
        return str(context["error"])
    said = mistake["msg"].replace("Input should", "should").replace("String should", "should")
    return f"{said}, not {shortened(mistake['input'])}"


def one_line(text: str) -> str:
    """With line breaks and other control characters as they would be typed, and cut to what can be read."""
    escaped = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return escaped if len(escaped) <= 1000 else f"{escaped[:1000]}..."


def shortened(value: object) -> str:
    written = repr(value)
    return written if len(written) <= 120 else f"{written[:120]}..."


def nearest(word: str, valid: Sequence[str]) -> str:
    close = get_close_matches(word, valid, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"valid: {', '.join(valid)}"


def keys_at(schema: Schema, location: Iterable[int | str]) -> list[str]:
    """The keys that the schema allows at a location."""
    return list(_descend(schema, location).get("properties", {}))


def tags_at(schema: Schema, location: Iterable[int | str]) -> list[str]:
    """The variants that the schema allows at a location."""
    return list(_descend(schema, location).get("discriminator", {}).get("mapping", {}))


def _descend(schema: Schema, location: Iterable[int | str]) -> Schema:
    here = schema
    for part in location:
        here = _resolve(_child(here, part), schema)
    return here


def _child(here: Schema, part: int | str) -> Schema:
    variants = here.get("discriminator", {}).get("mapping", {})
    if part in variants:
        return {"$ref": variants[part]}
    if part in here.get("properties", {}):
        return here["properties"][part]
    return here.get("items") or here.get("additionalProperties") or _by_pattern(here) or {}


def _by_pattern(here: Schema) -> Schema | None:
    return next(iter(here.get("patternProperties", {}).values()), None)


def _resolve(here: Schema, schema: Schema) -> Schema:
    """Follow a reference, and of a section that may be null take the section."""
    if "anyOf" in here:
        here = next(option for option in here["anyOf"] if option.get("type") != "null")
    if "$ref" in here:
        return schema["$defs"][here["$ref"].rsplit("/", 1)[-1]]
    return here

"""`xreasoner init`: a first recipe from three questions, each of which an option may answer."""

import os
import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xreasoner.cli.console import say

if TYPE_CHECKING:
    from xreasoner.estimate.first_recipe import FirstData
    from xreasoner.estimate.gpus import Gpus

CORPORA: dict[str, tuple[dict[str, Any], bool]] = {
    "openthoughts": ({"config": "metadata", "answers": "final"}, True),
    "orz-math": ({}, False),
    "gsm8k": ({}, False),
    "medqa": ({}, False),
}
"""The settings of a corpus, and whether it has thoughts."""
SAME: dict[str, tuple[str, ...]] = {
    "question": ("question", "problem", "prompt", "instruction", "input", "query", "q"),
    "answer": ("answer", "solution", "final_answer", "target", "label", "gold", "a"),
    "reasoning": ("reasoning", "thought", "thinking", "chain_of_thought", "cot", "rationale", "why"),
    "choices": ("choices", "options"),
}
"""Names that tables often give to these columns."""
LOOKED_AT = 2000


def init(
    model: Annotated[str | None, typer.Option(help="A folder, a hub id, or miniworld.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Your file or hub dataset, openthoughts, orz-math, gsm8k, medqa, miniworld; or several."
        ),
    ] = None,
    gpus: Annotated[str | None, typer.Option(help="8xH100-80, 1xRTX4090-24, or cpu.")] = None,
    columns: Annotated[
        str, typer.Option(help="Columns of your table, where they are not found: question=q,answer=a.")
    ] = "",
    bench: Annotated[str, typer.Option(help="Your table, or names; by default what suits the model.")] = "",
    out: Annotated[Path | None, typer.Option(help="The file; by default MODEL.yaml.")] = None,
) -> None:
    """Write a first recipe that fits your GPU, from three questions: model, data, GPU."""
    from xreasoner.estimate.first_recipe import Wishes, first_recipe
    from xreasoner.estimate.model_shape import shape_of
    from xreasoner.models.config import context_length
    from xreasoner.models.resolve import resolve_model, short_name

    model = model or typer.prompt(
        "Model (a folder, a hub id, or miniworld)", default="Qwen/Qwen2.5-VL-3B-Instruct"
    )
    data = data or typer.prompt(
        "Data (your file with questions and answers, or openthoughts, orz-math, gsm8k, medqa, miniworld; or "
        "several, by commas)",
        default="miniworld" if model == "miniworld" else "openthoughts,orz-math",
    )
    gpus = gpus or typer.prompt("GPUs (as in 8xH100-80; or cpu)", default="cpu")
    shape, local = shape_of(model), Path(model).exists() or model == "miniworld"
    name = re.sub(r"[^a-z0-9]+", "-", short_name(model).lower()).strip("-")
    name = name if name[:1].isalpha() else f"my-{name}"
    path = out or Path(f"{name}.yaml")
    if path.exists():
        raise ValueError(f"{path}: it exists; choose another file with --out")
    wish = Wishes(
        name,
        model,
        shape,
        (context_length(resolve_model(model)) if local else None) or 32768,
        tuple(data_of(one.strip(), columns) for one in data.split(",") if one.strip()),
        gpus_of(gpus),
        tuple(benchmark_of(one.strip(), columns) for one in bench.split(",") if one.strip()),
    )
    path.write_text(as_text(first_recipe(wish), path, gpus))
    say(f"{path}: {', '.join(stages_in_words(wish.data))}\nNext: xreasoner run {path} --dry-run")


def stages_in_words(data: "tuple[FirstData, ...]") -> list[str]:
    kinds = {one.has_thoughts for one in data}
    return [said for has, said in ((True, "SFT on written thoughts"), (False, "GRPO")) if has in kinds]


def gpus_of(text: str) -> "Gpus":
    """The processor counts as one GPU with half of the machine's memory."""
    from xreasoner.estimate.gpus import Gpus, read_gpus

    if text != "cpu":
        return read_gpus(text)
    return Gpus(1, "CPU", os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2)


def data_of(named: str, columns: str) -> "FirstData":
    from xreasoner.data.tables import is_hub_id
    from xreasoner.estimate.first_recipe import FirstData
    from xreasoner.recipe.errors import nearest

    families = {"source": "miniworld", "families": ["sums", "bars", "shapes"]}
    if named == "miniworld":
        return FirstData({**families, "steps": [1, 6], "count": 3000}, True)
    if named in CORPORA:
        settings, has_thoughts = CORPORA[named]
        return FirstData({"source": named, **settings}, has_thoughts)
    if Path(named).exists():
        return own_table(named, read_columns(columns))
    if is_hub_id(named):
        own = read_columns(columns)
        return FirstData(
            {"source": "table", "path": named, **({"columns": own} if own else {})}, "reasoning" in own
        )
    raise ValueError(f"--data {named}: no such file; {nearest(named, [*CORPORA, 'miniworld'])}")


def read_columns(text: str) -> dict[str, str]:
    pairs = [one.partition("=") for one in text.split(",") if one.strip()]
    if wrong := next((pair for pair in pairs if pair[0].strip() not in SAME or not pair[2].strip()), None):
        raise ValueError(
            f"--columns {wrong[0]}: it has the form question=q,answer=a; known: {', '.join(SAME)}"
        )
    return {name.strip(): column.strip() for name, _, column in pairs}


def own_table(path: str, given: dict[str, str]) -> "FirstData":
    """Its columns are found in the first rows."""
    from xreasoner.data.tables import read_rows
    from xreasoner.estimate.first_recipe import FirstData

    rows = [
        row.value for row in islice(read_rows(path, None, "train"), LOOKED_AT) if isinstance(row.value, dict)
    ]
    found = {key: None for row in rows for key, value in row.items() if value not in (None, "")}
    columns = dict(given)
    for name, often in SAME.items():
        column = columns.get(name) or next((one for one in often if one in found), None)
        if column is None or column not in found:
            if name in ("question", "answer"):
                raise ValueError(
                    f"{path}: which column is the {name}? It has {', '.join(found) or 'no rows'}; "
                    f"give --columns {name}=..."
                )
            continue
        columns[name] = column
    renamed = {name: column for name, column in columns.items() if name != column}
    table = {"source": "table", "path": path, **({"columns": renamed} if renamed else {})}
    if len(rows) == LOOKED_AT:
        return FirstData(table, "reasoning" in columns)
    characters = sum(len(str(row.get(column, ""))) for row in rows for column in columns.values())
    return FirstData(table, "reasoning" in columns, len(rows), max(1, characters // 3))


def benchmark_of(named: str, columns: str) -> str | dict[str, Any]:
    """A name as in `eval --bench`, or your own table."""
    if not Path(named).exists() or ":" in named:
        return named
    return {**own_table(named, read_columns(columns)).entry, "name": Path(named).stem}


def as_text(raw: dict[str, Any], path: Path, gpus: str) -> str:
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    written = yaml.dump(raw, Dumper=Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return (
        f"# Made by `xreasoner init`. docs/recipes.md explains every key.\n"
        f"#   xreasoner run {path} --dry-run       what it would do\n"
        + (
            ""
            if gpus == "cpu"
            else f"#   xreasoner estimate {path} --gpus {gpus}       memory, tokens and hours\n"
        )
        + written
    )

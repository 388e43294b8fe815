"""The model card of a trained stage, written from its run."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from xreasoner.recipe.file import Raw
from xreasoner.recipe.schema import BASE
from xreasoner.recipe.settings import OPTIONS_PART
from xreasoner.report.findings import find, sentence
from xreasoner.report.results import Results, StageResult

LICENCES = {
    "open-thoughts/OpenThoughts-114k": "apache-2.0",
    "GBaker/MedQA-USMLE-4-options": "cc-by-4.0",
    "openai/gsm8k": "mit",
}
"""As the pages of these data sets say. Others have to be looked up."""
PAPER = """\
@article{liu2025xreasoner,
  title   = {X-Reasoner: Towards Generalizable Reasoning Across Modalities and Domains},
  author  = {Qianchu Liu and Sheng Zhang and Guanghui Qin and Timothy Ossowski and Yu Gu and Ying Jin and
             Sid Kiblawi and Sam Preston and Mu Wei and Paul Vozila and Tristan Naumann and Hoifung Poon},
  journal = {arXiv preprint arXiv:2505.03981},
  year    = {2025}
}"""


def model_card(
    recipe: Raw, stage: str, results: Results | None, sees: bool, name: str, wants_torchvision: bool = True
) -> str:
    """`recipe` is the run's, defaults included; `sees` says whether the model takes images.

    `wants_torchvision`: its processor reads videos too, and that takes torchvision."""
    path = trained_path(recipe, stage)
    parts = [
        f"# {name}",
        about(recipe, path, sees),
        "## How to use it\n\n" + prompting(recipe, sees, name, sees and wants_torchvision),
        "## Results\n\n" + "\n\n".join(results_of(results, (BASE, *path))),
        "## What it was trained on\n\n" + "\n".join(data_lines(recipe, path)),
        "## Limits\n\n" + "\n".join(limits(recipe, path, results)),
        "## How it was made\n\n`recipe.yaml` is the whole recipe and `results.json` has all figures; "
        "`xreasoner run recipe.yaml` repeats it.",
        f"## Citation\n\nThe method:\n\n```bibtex\n{PAPER}\n```",
    ]
    return head(recipe, path, sees) + "\n\n".join(parts) + "\n"


def trained_path(recipe: Raw, stage: str) -> list[str]:
    """The stages that this one's weights went through, in order."""
    names = [BASE, *recipe["stages"]]
    path: list[str] = []
    while stage != BASE:
        path.insert(0, stage)
        stage = recipe["stages"][stage].get("from") or names[names.index(stage) - 1]
    return path


def head(recipe: Raw, path: Sequence[str], sees: bool) -> str:
    """The hub reads these keys. It takes no licence from us: that of the base applies."""
    from_hub = "/" in str(recipe["model"]) and not str(recipe["model"]).startswith(("/", "."))
    keys: dict[str, Any] = {"library_name": "transformers"}
    keys["pipeline_tag"] = "image-text-to-text" if sees else "text-generation"
    if from_hub:
        keys |= {"base_model": recipe["model"], "base_model_relation": "finetune"}
    if named := sorted({source["path"] for source in sources_of(recipe, path) if is_hub_id(source)}):
        keys["datasets"] = named
    keys["tags"] = ["reasoning", "x-reasoner", *(["vision-language"] if sees else [])]
    return f"---\n{yaml.safe_dump(keys, sort_keys=False)}---\n\n"


def about(recipe: Raw, path: Sequence[str], sees: bool) -> str:
    kinds = " then ".join(f"{KINDS[recipe['stages'][stage]['kind']]} ({stage})" for stage in path)
    trained = f"{recipe['model']}, trained further on text alone: {kinds}."
    seen = " Its vision encoder was not trained; no image was seen in training." if sees else ""
    return f"{trained}{seen} Made with xreasoner, an independent implementation of X-Reasoner."


KINDS = {
    "sft": "supervised fine-tuning on written thoughts",
    "grpo": "reinforcement learning with checked answers",
}


def prompting(recipe: Raw, sees: bool, name: str, wants_torchvision: bool) -> str:
    """The system prompt, and one way with a thinking budget and one without."""
    given = recipe.get("instruction") or ""
    instruction = OPTIONS_PART.sub(r"\1", given)
    asked = "It was trained without a system prompt."
    if instruction:
        options = " (the part about options only for questions with options)" if "{options:" in given else ""
        asked = f"It was trained with this system prompt{options}:\n\n> {instruction}"
    loader = "AutoModelForImageTextToText, AutoProcessor" if sees else "AutoModelForCausalLM, AutoTokenizer"
    model, processor = loader.split(", ")
    budget = recipe["evaluation"]["think_budget"]
    needs = " (its processor also reads videos: `pip install torchvision`)" if wants_torchvision else ""
    return f"""{asked}

It writes a thought within `<think> </think>`, then the answer within `<answer> </answer>`. Thoughts can be
long. With a budget, a thought that reaches it is closed and answered. The figures below were measured with
{budget:,} tokens:

```bash
xreasoner chat {name}            # in the terminal
xreasoner serve {name}           # OpenAI's protocol, with `thinking_token_budget`
```

Without a budget, as any model of transformers{needs}:

```python
from transformers import {loader}

model = {model}.from_pretrained("{name}", dtype="auto")
processor = {processor}.from_pretrained("{name}")
```"""


def results_of(results: Results | None, path: Sequence[str]) -> Iterator[str]:
    if results is None:
        yield "None were measured in this run."
        return
    stages = [stage for stage in path if stage in results.stages]
    rows = [row for row in results.rows if row.subset == "all" and row.stage in stages]
    unseen = "" if any(row.modality == "image" for row in rows) else " Nothing was measured on images."
    yield f"Accuracy in %, with 95% intervals.{unseen}"
    yield table(rows, stages)
    yield "\n".join(f"- {sentence(finding)}" for finding in find(results))


def table(rows: Sequence[StageResult], stages: Sequence[str]) -> str:
    lines = [f"| benchmark | n | {' | '.join(stages)} |", f"|---|---|{'---|' * len(stages)}"]
    for name in dict.fromkeys(row.benchmark for row in rows):
        by_stage = {row.stage: row for row in rows if row.benchmark == name}
        first = next(iter(by_stage.values()))
        title = name if first.role == "skill" else f"{name} ({first.role})"
        cells = " | ".join(cell_of(by_stage.get(stage)) for stage in stages)
        lines.append(f"| {title} | {first.n:,} | {cells} |")
    return "\n".join(lines)


def cell_of(row: StageResult | None) -> str:
    if row is None or not row.scored:
        return "–"
    return f"{100 * row.accuracy:.1f} [{100 * row.low:.0f}, {100 * row.high:.0f}]"


def sources_of(recipe: Raw, path: Sequence[str]) -> Iterator[Raw]:
    for stage in path:
        yield from recipe["stages"][stage]["data"]


def is_hub_id(source: Raw) -> bool:
    path = str(source.get("path", ""))
    return source["source"] != "jsonl" and path.count("/") == 1 and not path.startswith(("/", "."))


def data_lines(recipe: Raw, path: Sequence[str]) -> Iterator[str]:
    """Paths of the author's own files are not published, only that there were some."""
    for stage in path:
        for source in recipe["stages"][stage]["data"]:
            if is_hub_id(source):
                name, licence = source["path"], LICENCES.get(source["path"], "see its page")
                yield f"- {stage}: [{name}](https://huggingface.co/datasets/{name}), licence: {licence}"
            elif source["source"] == "miniworld":
                yield f"- {stage}: problems of the mini-world that comes with xreasoner"
            else:
                yield f"- {stage}: data of the author's own; licence: not stated"


def without_private(recipe: Raw) -> dict[str, Any]:
    """The recipe for others: of the author's own files only the names, and no address of a server."""
    return {key: _public(value) for key, value in recipe.items() if key not in ("out", "track")}


def _public(value: Any) -> Any:
    if isinstance(value, list):
        return [_public(one) for one in value]
    if not isinstance(value, dict):
        return value
    own = value.get("path") is not None and not ("source" in value and is_hub_id(value))
    names = {"path": PurePath(value["path"]).name} if own else {}
    return {key: None if key == "server" else _public(one) for key, one in value.items()} | names


def is_clinical(source: Raw) -> bool:
    return source["source"] == "medqa" or source.get("domain") == "clinical"


def limits(recipe: Raw, path: Sequence[str], results: Results | None) -> Iterator[str]:
    yield "- Trained on text only: what the base model could not see, this one cannot see either."
    if results is not None:
        last = [row for row in results.rows if row.stage == path[-1] and row.subset == "all"]
        forced = max((row.forced for row in last), default=0.0)
        missing = max((row.missing for row in last), default=0.0)
        yield (
            f"- The thinking budget forced up to {100 * forced:.0f}% of the answers to a benchmark; in up to "
            f"{100 * missing:.0f}% no answer was found."
        )
    if any(is_clinical(source) for source in sources_of(recipe, path)):
        yield "- Not a medical device, and not for decisions about patients: exams say little about care."
    yield "- It inherits the licence, the biases and the limits of its base model."

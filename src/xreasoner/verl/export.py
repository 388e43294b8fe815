"""Write a GRPO stage as a folder that verl trains from: model, data, settings and the line that starts it."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import yaml
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from xreasoner.chat.template import encode_plainly, problem_prompt
from xreasoner.chat.think import FORCED_EXIT
from xreasoner.data.sources import split_held_out
from xreasoner.models.side_files import new_folder
from xreasoner.models.surgery import detach
from xreasoner.pipeline.stage_status import PlannedStage
from xreasoner.pipeline.stages import Plan, make_plan
from xreasoner.recipe.file import write_recipe
from xreasoner.recipe.schema import BASE, GrpoStage, Recipe
from xreasoner.records import Problem, Sampling
from xreasoner.rollout.forced_exit import max_tokens
from xreasoner.rollout.special_tokens import read_token_decoder
from xreasoner.storage.files import write_json
from xreasoner.verl.parquet import write_rows
from xreasoner.verl.trainer_settings import (
    Machines,
    Sizes,
    agent_loop_settings,
    differences,
    refuse_what_verl_cannot,
    verl_settings,
)

VERL = "0.9.1"
NOTE = "export.json"

START = """\
#!/usr/bin/env bash
# Trains this stage with verl {verl}. Run it on the head node of a Ray cluster, or on one machine, in verl's
# own environment, in which this package is installed too (docs/scale.md says how). All nodes must see this
# folder under the same path. Other settings of verl can follow: bash train.sh trainer.nnodes=4
set -euo pipefail
cd "$(dirname "${{BASH_SOURCE[0]}}")"
exec python -m verl.trainer.main_ppo --config-path "$PWD" --config-name verl folder="$PWD" "$@"
"""


@dataclass(frozen=True)
class Exported:
    folder: Path
    problems: int
    held_out: int
    differences: tuple[str, ...]


def export_stage(
    recipe: Recipe, name: str | None, out: Path, machines: Machines, say: Callable[[str], None]
) -> Exported:
    plan = make_plan(recipe, say)
    stage = grpo_stage(plan, name)
    settings = stage.settings
    assert isinstance(settings, GrpoStage)
    refuse_what_verl_cannot(stage.name, settings)
    start = start_of(stage, plan)
    problems, held_out = split_held_out(stage.problems, settings.held_out, recipe.seed)
    with new_folder(out) as folder:
        copy_start(start, plan, folder / "model")
        sizes = measure_sizes(settings, problems, held_out, recipe.instruction, folder / "model")
        write_rows(folder / "train.parquet", problems, recipe.instruction)
        if held_out:
            write_rows(folder / "held_out.parquet", held_out, recipe.instruction)
        write_settings(folder, stage.name, recipe, sizes, machines)
        made_from = {"stage": stage.name, "fingerprint": stage.manifest.fingerprint, "verl": VERL}
        write_json(folder / NOTE, made_from)
    return Exported(out, len(problems), len(held_out), tuple(differences(settings)))


def grpo_stage(plan: Plan, name: str | None) -> PlannedStage:
    """The stage of that name, or the only one that verl can train."""
    candidates = [stage for stage in plan.stages if isinstance(stage.settings, GrpoStage)]
    if name is None and len(candidates) == 1:
        return candidates[0]
    found = [stage for stage in candidates if stage.name == name]
    if not found:
        offered = ", ".join(stage.name for stage in candidates) or "none"
        raise ValueError(f"{plan.recipe.name}: name a GRPO stage with --stage; there are: {offered}")
    return found[0]


def start_of(stage: PlannedStage, plan: Plan) -> Path:
    start = plan.text_model(stage.start)
    status = {one.name: one.status for one in plan.stages}.get(stage.start, "done")
    if stage.start != BASE and status != "done":
        raise ValueError(
            f"{stage.name} starts from {stage.start}, which is not trained yet; "
            f"run the recipe up to it first, or set {stage.name}.from=base"
        )
    return start


def copy_start(start: Path, plan: Plan, out: Path) -> None:
    if start.is_dir():
        shutil.copytree(start, out)
    else:
        detach(plan.base, out)


def measure_sizes(
    stage: GrpoStage,
    problems: Sequence[Problem],
    held_out: Sequence[Problem],
    instruction: str | None,
    model: Path,
) -> Sizes:
    decoder = read_token_decoder(model)
    refuse_another_tokenizer(model, decoder.tokenizer)
    sampling = Sampling(
        think_budget=stage.think_budget,
        answer_budget=stage.answer_budget,
        exit_without_thought=stage.exit_without_thought,
    )
    return Sizes(
        problems=len(problems),
        held_out=len(held_out),
        longest_prompt=longest_prompt(chain(problems, held_out), instruction, decoder.tokenizer),
        longest_answer=max_tokens(sampling, decoder.special_tokens.exits.longest),
    )


def refuse_another_tokenizer(model: Path, ours: PreTrainedTokenizerBase) -> None:
    """verl opens a tokenizer by its class alone, which for some checkpoints gives other tokens."""
    theirs = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    for text in ("a b\n\nc", FORCED_EXIT, "<|im_start|>user\n1 + 1"):
        if theirs.encode(text, add_special_tokens=False) != ours.encode(text, add_special_tokens=False):
            raise ValueError(
                f"{model}: verl opens tokenizers with transformers' AutoTokenizer, which cuts {text!r} into "
                "other tokens than the checkpoint's tokenizer.json; verl cannot train this model"
            )


def longest_prompt(
    problems: Iterable[Problem], instruction: str | None, tokenizer: PreTrainedTokenizerBase
) -> int:
    prompts = (problem_prompt(problem, instruction) for problem in problems)
    return max(len(encode_plainly(prompt, tokenizer)[0]) for prompt in prompts)


def write_settings(folder: Path, name: str, recipe: Recipe, sizes: Sizes, machines: Machines) -> None:
    stage = recipe.stages[name]
    assert isinstance(stage, GrpoStage)
    hydra = {
        "searchpath": ["pkg://verl.trainer.config"],
        "run": {"dir": "."},
        "output_subdir": None,  # else a folder `outputs` with copies of the settings appears
    }
    head = {"defaults": ["ppo_trainer", "_self_"], "hydra": hydra}
    settings = head | verl_settings(name, recipe, sizes, machines)
    notes = "".join(f"# - {line}\n" for line in differences(stage))
    title = f"# Stage {name} of {recipe.name}, for verl {VERL}. Where verl differs from our own training:\n"
    (folder / "verl.yaml").write_text(title + notes + yaml.safe_dump(settings, sort_keys=False))
    (folder / "agent_loop.yaml").write_text(yaml.safe_dump(agent_loop_settings(stage), sort_keys=False))
    at_home = recipe.model_copy(update={"out": recipe.run_dir.resolve()})
    (folder / "recipe.yaml").write_text(write_recipe(at_home))
    (folder / "train.sh").write_text(START.format(verl=VERL))

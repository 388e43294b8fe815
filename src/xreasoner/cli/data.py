"""The commands to use before a run: prepare and inspect data, distill thoughts, estimate memory and time."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from xreasoner.cli.arguments import Overrides, RecipeFile
from xreasoner.cli.console import console, say
from xreasoner.terminal.fitted_table import FittedTable


def show(
    recipe: RecipeFile,
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="By default the first stage.")] = None,
    count: Annotated[int, typer.Option(help="Number of examples.")] = 3,
) -> None:
    """Print training examples of a stage token by token, with the targets in colour."""
    from xreasoner.chat.template import training_example
    from xreasoner.data.show_tokens import show_tokens
    from xreasoner.models.load import load_tokenizer
    from xreasoner.models.resolve import resolve_model
    from xreasoner.pipeline.stages import stage_data
    from xreasoner.recipe.file import read_recipe

    wanted = read_recipe(recipe, overrides or [])
    name = stage or next(iter(wanted.stages), "")
    tokenizer = load_tokenizer(resolve_model(wanted.model))
    ((_, problems),) = stage_data(wanted, [name], say)
    for problem in problems[:count]:
        show_tokens(training_example(problem, wanted.instruction, tokenizer), tokenizer, console)


def stats(
    recipe: RecipeFile,
    overrides: Overrides = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage; by default all.")] = None,
) -> None:
    """Prepare the data of RECIPE; print counts, lengths, and how many rows were left out and why."""
    from xreasoner.data.preparation_report import draw_histogram, print_report
    from xreasoner.data.prepare import read_report
    from xreasoner.data.problem_store import ProblemStore
    from xreasoner.pipeline.stages import stage_data
    from xreasoner.recipe.file import read_recipe

    wanted = read_recipe(recipe, overrides or [])
    names = [stage] if stage else list(wanted.stages)
    for name, problems in stage_data(wanted, names, say):
        if not isinstance(problems, ProblemStore):
            say(f"{name}: {len(problems):,} problems, unfiltered; statistics need `filters: {{}}`")
            continue
        report, picture = read_report(problems.folder), problems.folder / "lengths.png"
        print_report(name, report, problems.tokens.tolist(), console)
        draw_histogram(name, report, problems.tokens.tolist(), picture)
        say(f"{picture}\n{problems.folder / 'left_out.jsonl'}")


def pass_rate(
    recipe: RecipeFile,
    out: Annotated[Path, typer.Option(help="The file for the rates, one line per problem.")],
    stage: Annotated[str, typer.Option(help="The stage whose problems to use.")],
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="The model to ask; by default the recipe's.")] = None,
    samples: Annotated[int, typer.Option(help="Samples per problem.")] = 8,
    temperature: float = 1.0,
) -> None:
    """Measure how often a model solves each problem of a stage, for `filters.pass_rates`."""
    from xreasoner.data.pass_rate import measure_pass_rates
    from xreasoner.models.resolve import resolve_model
    from xreasoner.parallel import join_world
    from xreasoner.pipeline.stages import stage_data
    from xreasoner.recipe.file import read_recipe
    from xreasoner.recipe.schema import GrpoStage
    from xreasoner.records import Sampling
    from xreasoner.rewards.grade import Grader
    from xreasoner.rollout.choose import open_checkpoint

    wanted = read_recipe(recipe, overrides or [])
    settings = wanted.stage(stage)
    budgets = settings if isinstance(settings, GrpoStage) else wanted.evaluation
    sampling = Sampling(
        samples,
        temperature,
        budgets.think_budget,
        budgets.answer_budget,
        budgets.forced_exit,
        wanted.seed,
        budgets.exit_without_thought,
    )
    ((_, problems),) = stage_data(wanted, [stage], say)
    checkpoint = resolve_model(model or wanted.model)
    refuse_another(out, {"model": str(checkpoint), "instruction": wanted.instruction, **asdict(sampling)})
    engine = open_checkpoint(checkpoint, "auto", settings.dtype, budgets.rows, join_world().device)
    with Grader() as grader:
        measure_pass_rates(problems, engine, grader, wanted.instruction, sampling, out, say)
    say(f"{out}: use it with filters.pass_rates={{file: {out}}}")


def budgets(
    recipe: RecipeFile,
    stage: Annotated[str, typer.Option(help="The stage whose problems to use.")],
    overrides: Overrides = None,
    model: Annotated[str | None, typer.Option(help="The model to ask; by default the recipe's.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="Number of questions.")] = 32,
    longest: Annotated[int, typer.Option(min=1, help="The most tokens of a reply.")] = 4096,
) -> None:
    """Suggest budgets of thinking and answering, from the model's replies to questions of a stage."""
    from xreasoner.data.budgets import lengths_of, lengths_table, suggestion
    from xreasoner.models.resolve import resolve_model
    from xreasoner.parallel import join_world
    from xreasoner.pipeline.stages import stage_data
    from xreasoner.recipe.file import read_recipe
    from xreasoner.rollout.choose import open_checkpoint

    wanted = read_recipe(recipe, overrides or [])
    ((_, problems),) = stage_data(wanted, [stage], say)
    checkpoint = resolve_model(model or wanted.model)
    engine = open_checkpoint(checkpoint, "auto", wanted.stage(stage).dtype, questions, join_world().device)
    lengths = lengths_of(problems[:questions], engine, wanted.instruction, longest)
    console.print(FittedTable(lengths_table(lengths)))
    say(suggestion(stage, lengths, longest))


def distill(
    settings: Annotated[Path, typer.Argument(metavar="DISTILLATION", help="A distillation in YAML.")],
    overrides: Overrides = None,
) -> None:
    """Ask a teacher for thoughts and keep those that end with the known answer."""
    from xreasoner.distill.distill import distill as ask_and_keep
    from xreasoner.distill.settings import read_distillation
    from xreasoner.distill.teacher import teacher_engine
    from xreasoner.rewards.grade import Grader

    wanted = read_distillation(settings, overrides or [])
    with Grader() as grader:
        summary = ask_and_keep(wanted, teacher_engine(wanted.teacher), grader, say)
    hinted = f" ({summary.solved_with_hint:,} of them with a hint)" if wanted.hint else ""
    say(
        f"{summary.solved:,} of {summary.questions:,} questions solved{hinted}: {summary.thoughts:,} thoughts"
    )
    if summary.left_out:
        reasons = ", ".join(f"{count} {reason}" for reason, count in summary.left_out.items())
        say(f"{sum(summary.left_out.values()):,} rows could not be used: {reasons}")
    say(f"{wanted.folder / 'thoughts.jsonl'}")
    say(f"{wanted.folder / 'answers.jsonl'}: every answer, and why it was kept or not")


def estimate(
    recipe: RecipeFile,
    overrides: Overrides = None,
    gpus: Annotated[str, typer.Option(help="GPUs: 8xH100-80, or 2x8xH100-80 on two machines.")] = "8xH100-80",
) -> None:
    """Estimate memory, tokens and hours of RECIPE on given GPUs, and what to change if it does not fit."""
    from xreasoner.estimate.data_size import known_data_sizes
    from xreasoner.estimate.estimate import estimate_recipe
    from xreasoner.estimate.gpus import read_gpus
    from xreasoner.estimate.model_shape import shape_of
    from xreasoner.estimate.print_estimate import print_estimates
    from xreasoner.recipe.file import read_recipe

    wanted, at_hand = read_recipe(recipe, overrides or []), read_gpus(gpus)
    shape = shape_of(wanted.model)
    found = estimate_recipe(wanted, shape, at_hand, known_data_sizes(wanted))
    print_estimates(f"{wanted.name}: {wanted.model}", shape, at_hand, found, console)


def refuse_another(out: Path, made_from: dict[str, object]) -> None:
    """One file holds the rates of one model, sampled in one way."""
    from xreasoner.storage.checked_json import read_checked_json, write_checked_json
    from xreasoner.storage.run_folder import first_difference

    note = out.with_name(f"{out.name}.made_from.json")
    if out.exists() and note.exists():
        changed = first_difference(
            read_checked_json(note, "the settings of its rates are unknown: choose another file"), made_from
        )
        if changed:
            raise ValueError(f"{out}: this file holds other pass rates ({changed}); choose another file")
    write_checked_json(note, made_from)

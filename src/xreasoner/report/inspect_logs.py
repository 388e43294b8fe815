"""Writes answers as inspect_ai logs, with its own writer, for `inspect view` and its tools."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from xreasoner import __version__
from xreasoner.chat.think import split_thought
from xreasoner.evals.samples import IMAGE_MARK, KeptProblem, Sample, read_answers, read_result
from xreasoner.recipe.schema import BASE
from xreasoner.report.cards import embedded
from xreasoner.report.results import PICTURES, read_recipe

SCORER = "xreasoner"


def write_logs(run_dir: Path, folder: Path) -> Iterator[Path]:
    """One `.eval` file per model and benchmark."""
    if find_spec("inspect_ai") is None:
        raise ValueError("logs for inspect are written with inspect_ai: pip install 'xreasoner[inspect]'")
    from inspect_ai.log import write_eval_log

    paths = [path for path in sorted(run_dir.glob("evals/*/*.json")) if path.with_suffix(".jsonl").exists()]
    if not paths:
        raise ValueError(f"{run_dir}: no finished evaluation under evals/")
    for path in paths:
        folder.mkdir(parents=True, exist_ok=True)
        written = folder / f"{path.parent.name}_{path.stem}.eval"
        write_eval_log(eval_log(path, run_dir), str(written))
        yield written


def eval_log(path: Path, run_dir: Path) -> Any:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSpec, EvalStats
    from inspect_ai.model import GenerateConfig

    result = read_result(path)
    answers = read_answers(path.with_suffix(".jsonl"))
    sampling, when = result.get("sampling", {}), finished_at(path)
    ids = list(answers.problems)
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=when,
            task=result["benchmark"],
            task_id=f"{run_dir.name}-{path.parent.name}-{path.stem}",
            model=f"xreasoner/{model_name(path, run_dir)}",
            dataset=EvalDataset(name=result["benchmark"], samples=len(ids), sample_ids=ids),
            config=EvalConfig(epochs=int(sampling.get("n", 1))),
            model_generate_config=GenerateConfig(
                temperature=sampling.get("temperature"), reasoning_tokens=sampling.get("think_budget")
            ),
            packages={"xreasoner": __version__},
            metadata={"run": run_dir.name, "sampling": sampling},
        ),
        results=eval_results(result, answers.samples),
        stats=EvalStats(started_at=when, completed_at=when),
        samples=[
            eval_sample(sample, answers.problems[sample.problem_id], path.parent.parent / PICTURES)
            for sample in answers.samples
        ],
    )


def model_name(path: Path, run_dir: Path) -> str:
    """The base is called by the recipe's `model`."""
    stage = path.parent.name
    return str(read_recipe(run_dir).get("model", stage)) if stage == BASE else stage


def finished_at(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()


def eval_results(result: dict[str, Any], samples: Sequence[Sample]) -> Any:
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    names = ("accuracy", "low", "high", "forced", "cut", "missing", "unscored", "broken", "mean_think_tokens")
    metrics = {name: EvalMetric(name=name, value=result[name]) for name in names if name in result}
    unscored = sum(sample.score.correct is None for sample in samples)
    score = EvalScore(
        name=SCORER,
        scorer=SCORER,
        scored_samples=len(samples) - unscored,
        unscored_samples=unscored,
        metrics=metrics,
    )
    return EvalResults(total_samples=len(samples), completed_samples=len(samples), scores=[score])


def eval_sample(sample: Sample, asked: KeptProblem, pictures: Path) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput
    from inspect_ai.scorer import Score

    question, reply = user_message(asked, pictures), assistant_message(sample)
    value = {True: "C", False: "I", None: float("nan")}[sample.score.correct]
    facts = {"forced": sample.forced, "stop": sample.stop, "think_tokens": sample.think_tokens}
    return EvalSample(
        id=sample.problem_id,
        epoch=sample.epoch + 1,
        input=[question],
        choices=list(asked.problem.choices) or None,
        target=asked.problem.answer,
        messages=[question, reply],
        output=ModelOutput.from_message(reply),
        scores={
            SCORER: Score(
                value=value, answer=sample.score.extracted, explanation=sample.score.why, metadata=facts
            )
        },
        metadata={**asked.problem.tags, **facts},
    )


def user_message(asked: KeptProblem, pictures: Path) -> Any:
    from inspect_ai.model import ChatMessageUser, ContentImage, ContentText

    shown = (embedded(pictures, name) for name in asked.pictures)
    images = [ContentImage(image=uri) for uri in shown if uri]
    text = asked.question.replace(IMAGE_MARK, "").strip()
    return ChatMessageUser(content=[*images, ContentText(text=text)])


def assistant_message(sample: Sample) -> Any:
    """The thought becomes a reasoning part, which the viewer folds."""
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText

    thought, reply = split_thought(sample.text)
    parts = [ContentReasoning(reasoning=thought)] if thought else []
    return ChatMessageAssistant(content=[*parts, ContentText(text=reply)])

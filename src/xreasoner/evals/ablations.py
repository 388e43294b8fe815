"""What an image benchmark shows once its images are gone, and which of its items need them."""

from collections.abc import Iterable
from dataclasses import replace

from xreasoner.evals.benchmark import Benchmark
from xreasoner.evals.samples import Sample
from xreasoner.records import Picture, Problem

BLIND = "-without-image"


def without_image(problem: Problem) -> Problem:
    """The same question, word for word, with nothing to look at."""
    words = tuple(part for part in problem.question if not isinstance(part, Picture))
    return replace(problem, id=problem.id + BLIND, item=problem.item or problem.id, question=words)


def blind(benchmark: Benchmark) -> Benchmark:
    """The benchmark asked without its images, to learn which items can be solved from their text."""
    if benchmark.modality != "image":
        raise ValueError(f"benchmark {benchmark.name} has no images to leave out")
    problems = tuple(without_image(problem) for problem in benchmark.problems)
    return Benchmark(benchmark.name + BLIND, "text", benchmark.domain, problems, "blind", benchmark.broken)


def text_solvable(without_images: Iterable[Sample]) -> frozenset[str]:
    """The items that a reference model got right, in any sample, without the image."""
    return frozenset(sample.item for sample in without_images if sample.correct)


def image_needed(samples: Iterable[Sample], solvable: frozenset[str]) -> list[Sample]:
    return [sample for sample in samples if sample.item not in solvable]

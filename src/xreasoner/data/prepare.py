"""Prepare the data of a stage: read its sources, filter, store the problems on disk, and report."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from xreasoner.chat.think import write_thought
from xreasoner.data.candidates import Candidate
from xreasoner.data.checks import Check, Lengths, has_thought, is_verified, rated
from xreasoner.data.contamination import Contamination
from xreasoner.data.corpora.read import RowResult, read_corpus
from xreasoner.data.duplicates import ExactDuplicates, NearDuplicates, asked_text
from xreasoner.data.hub import revision_of
from xreasoner.data.left_out import LeftOut, LeftOutFile
from xreasoner.data.preparation_report import PreparationReport, quantiles
from xreasoner.data.problem_store import ProblemStore, ProblemWriter, problems_fingerprint
from xreasoner.data.sources import SEEDS_APART, TRAINING, names_of, training_problems
from xreasoner.data.tables import is_hub_id, table_files
from xreasoner.recipe.schema import Recipe, Stage
from xreasoner.recipe.settings import OPTIONS_PART
from xreasoner.recipe.training_data import Corpus, Filters, JsonlData
from xreasoner.records import Problem
from xreasoner.rewards.grade import Grader
from xreasoner.storage.file_hash import file_hash
from xreasoner.storage.files import write_json
from xreasoner.storage.folders import damage_in, folder_written_atomically
from xreasoner.storage.journal import Say
from xreasoner.storage.run_folder import fingerprint, waiting_lock

FORM = 2
"""Version of the format of prepared data; a change prepares everything again."""
TOGETHER = 64
"""Rows per batch of the filters."""
ROWS_BETWEEN_LINES = 10_000
Tests = Mapping[str, Sequence[Problem]]
ReadCatalogue = Callable[[], tuple[Tests, Sequence[str]]]
"""Reads test questions that the recipe does not ask, and the names of benchmarks without a copy here."""


def no_catalogue() -> tuple[Tests, Sequence[str]]:
    return {}, ()


def is_prepared(settings: Stage) -> bool:
    """Corpora and filtered data are stored on disk; unfiltered mini-world data is generated when needed."""
    return settings.filters is not None or any(isinstance(entry, Corpus) for entry in settings.data)


def removes_leaks(settings: Stage) -> bool:
    return settings.filters is not None and settings.filters.decontaminate


def stage_problems(
    recipe: Recipe,
    stage: str,
    base: Path,
    tests: Tests,
    say: Say,
    catalogue: ReadCatalogue = no_catalogue,
    scratch: Path | None = None,
) -> Sequence[Problem]:
    settings = recipe.stages[stage]
    if not is_prepared(settings):
        return training_problems(settings.data, recipe.seed)
    return prepare(recipe, stage, base, tests, say, catalogue, scratch)


def prepare(
    recipe: Recipe,
    stage: str,
    base: Path,
    tests: Tests,
    say: Say,
    catalogue: ReadCatalogue = no_catalogue,
    scratch: Path | None = None,
) -> ProblemStore:
    """Prepare once for the same files, settings, tokenizer and benchmarks; other processes wait.

    The catalogue is compared too, but a benchmark that is downloaded later prepares nothing again.
    With `scratch`, what the run directory does not have is prepared there.
    """
    settings = recipe.stages[stage]
    filters = settings.filters or Filters(duplicates="keep", decontaminate=False)
    made_from = {
        "form": FORM,
        "seed": recipe.seed,
        "instruction": recipe.instruction,
        "data": [entry.model_dump(mode="json") for entry in settings.data],
        "filters": filters.model_dump(mode="json"),
        "files": [stamp for entry in settings.data for stamp in _stamps(entry)]
        + ([_stamp(filters.pass_rates.file)] if filters.pass_rates else []),
        "tokenizer": _stamp(base / "tokenizer.json"),
        "tests": {name: problems_fingerprint(problems) for name, problems in sorted(tests.items())}
        if filters.decontaminate
        else {},
    }
    key, folder = fingerprint(made_from), recipe.run_dir / "data" / stage
    if scratch is not None:
        if _is_made(folder, key, say):
            return _store(folder)
        folder = scratch / "data" / stage
    with waiting_lock(folder.parent):
        if not _is_made(folder, key, say):
            with folder_written_atomically(folder) as unfinished:
                more, missing = catalogue() if filters.decontaminate else no_catalogue()
                every = {**tests, **more}
                preparation = _Preparation(recipe, stage, filters, base, every, unfinished, say)
                report, problems = preparation.run()
                report = replace(report, protected=len(every), unprotected=list(missing))
                write_json(unfinished / "report.json", asdict(report))
                write_json(unfinished / "made_from.json", {"key": key, "problems": problems} | made_from)
        return _store(folder)


def _store(folder: Path) -> ProblemStore:
    return ProblemStore(folder, json.loads((folder / "made_from.json").read_text())["problems"])


def read_report(folder: Path) -> PreparationReport:
    return PreparationReport(**json.loads((folder / "report.json").read_text()))


def _is_made(folder: Path, key: str, say: Say) -> bool:
    if not folder.is_dir():
        return False
    if damage := damage_in(folder):
        say(f"{damage}; prepared again")
        return False
    return bool(json.loads((folder / "made_from.json").read_text())["key"] == key)


def _stamps(entry: Any) -> list[list[str]]:
    if isinstance(entry, JsonlData):
        return [_stamp(entry.path)]
    if not isinstance(entry, Corpus):
        return []
    if not Path(entry.path).exists() and is_hub_id(entry.path):
        return [[entry.path, revision_of(entry.path)]]
    files = table_files(Path(entry.path), getattr(entry, "config", None), entry.split)
    return [_stamp(file) for file in files]


def _stamp(file: Path) -> list[str]:
    return [file.name, file_hash(file) if file.is_file() else ""]


class _Preparation:
    """One pass over the data; near duplicates are removed at the end."""

    def __init__(
        self, recipe: Recipe, stage: str, filters: Filters, base: Path, tests: Tests, folder: Path, say: Say
    ) -> None:
        self._entries, self._seed, self._stage, self._say = recipe.stages[stage].data, recipe.seed, stage, say
        self._filters, self._folder = filters, folder
        self._left_out = LeftOutFile(folder / "left_out.jsonl")
        self._writer = ProblemWriter(folder)
        self._lengths = _lengths(filters, base, recipe.instruction)
        self._contamination = Contamination(tests if filters.decontaminate else {})
        self._near = NearDuplicates() if filters.duplicates == "near" else None
        self._tokens: list[int] = []
        self._sources: Counter[str] = Counter()
        self._rows, self._with_thought, self._began = 0, 0, time.monotonic()

    def run(self) -> tuple[PreparationReport, str]:
        """The report, and the fingerprint of the kept problems."""
        stream = candidates_of(self._entries, self._seed)
        with Grader() as grader:
            checks = self._checks(grader)
            while found := list(islice(stream, TOGETHER)):
                self._take(found, checks)
        copies = self._near.find(self._writer.read) if self._near else {}
        self._drop_copies(copies)
        fingerprint = self._writer.close(without=frozenset(copies))
        self._left_out.close()
        return self._report(copies), fingerprint

    def _checks(self, grader: Grader) -> list[Check]:
        """Cheap ones first."""
        filters = self._filters
        checks: list[Check] = []
        if filters.thoughts == "required":
            checks.append(has_thought)
        if filters.duplicates != "keep":
            checks.append(ExactDuplicates().check)
        if filters.pass_rates:
            checks.append(rated(filters.pass_rates))
        if len(self._contamination):
            checks.append(self._contamination.check)
        if filters.verified:
            checks.append(is_verified(grader))
        return [*checks, self._lengths.check]

    def _take(self, found: Sequence[RowResult], checks: Sequence[Check]) -> None:
        before, self._rows = self._rows, self._rows + len(found)
        candidates = [one for one in found if isinstance(one, Candidate)]
        for one in found:
            if isinstance(one, LeftOut):
                self._left_out.add(one)
        for check in checks:
            candidates = self._passed(candidates, check)
        for one in candidates:
            self._keep(one.problem)
        if before // ROWS_BETWEEN_LINES < self._rows // ROWS_BETWEEN_LINES:
            speed = self._rows / (time.monotonic() - self._began)
            self._say(
                f"{self._stage}: {self._rows:,} rows read, {len(self._tokens):,} kept, {speed:,.0f} rows/s"
            )

    def _passed(self, candidates: Sequence[Candidate], check: Check) -> list[Candidate]:
        passed = []
        for one, (reason, detail) in zip(candidates, check(candidates), strict=True):
            if reason:
                self._left_out.add(LeftOut(one.position, reason, detail, one.problem.id))
            else:
                passed.append(one)
        return passed

    def _keep(self, problem: Problem) -> None:
        tokens = self._lengths.measured[problem.id]
        self._writer.add(problem, tokens)
        self._tokens.append(tokens)
        self._sources[problem.source] += 1
        self._with_thought += bool(problem.reasoning)
        if self._near:
            self._near.note(problem)

    def _drop_copies(self, copies: Mapping[int, int]) -> None:
        for place in sorted(copies):
            problem, first = self._writer.read(place), self._writer.read(copies[place])
            self._left_out.add(LeftOut(problem.id, "near duplicate question", f"of {first.id}", problem.id))
            self._sources[problem.source] -= 1
            self._with_thought -= bool(problem.reasoning)

    def _report(self, copies: Mapping[int, int]) -> PreparationReport:
        tokens = [count for place, count in enumerate(self._tokens) if place not in copies]
        return PreparationReport(
            rows=self._rows,
            kept=len(tokens),
            left_out=dict(self._left_out.counts.most_common()),
            sources=dict(self._sources),
            quantiles=quantiles(tokens),
            tokens=sum(tokens),
            with_thought=self._with_thought,
            benchmarks=dict(self._contamination.found.most_common()),
            boilerplate=self._contamination.boilerplate,
            estimated=self._lengths.estimated,
            seconds=round(time.monotonic() - self._began, 1),
        )


def candidates_of(entries: Sequence[Any], seed: int) -> Iterator[RowResult]:
    drawn: set[str] = set()
    for number, (entry, name) in enumerate(zip(entries, names_of(entries), strict=True)):
        if isinstance(entry, Corpus):
            yield from read_corpus(entry, name)  # type: ignore[arg-type]  # every corpus is one of the union
        else:
            for problem in TRAINING[entry.source](entry, seed * SEEDS_APART + number, name):
                if problem.id not in drawn:
                    drawn.add(problem.id)
                    yield Candidate(problem, problem.id)


def _lengths(filters: Filters, base: Path, instruction: str | None) -> Lengths:
    from xreasoner.chat.template import training_example
    from xreasoner.models.load import load_tokenizer

    tokenizer = load_tokenizer(base)
    probe = Problem("probe", ("1",), "1", "exact", reasoning="1")
    texts = [asked_text(probe), write_thought(probe.reasoning, probe.answer)]
    said = sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    # As with options, so that no problem is longer than counted.
    longest = OPTIONS_PART.sub(r"\1", instruction) if instruction else None
    marks = len(training_example(probe, longest, tokenizer).ids) - said
    return Lengths(tokenizer, filters.min_tokens, filters.max_tokens, marks)

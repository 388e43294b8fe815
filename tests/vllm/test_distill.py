"""Distillation at serving speed: a teacher on vLLM, in this process."""

from pathlib import Path

from tests.distill.test_distill import answers, medqa_file, run, settings


def test_the_same_thoughts_as_on_the_torch_engine(vlm: Path, tmp_path: Path) -> None:
    told = []
    for kind in ("torch", "vllm"):
        folder = tmp_path / kind
        folder.mkdir()
        medqa_file(folder, count=4)
        wanted = settings(
            folder,
            "",
            teacher={"kind": kind, "model": str(vlm), "rows": 8, "dtype": "float32"},
            samples=1,
            temperature=0.0,
            think_budget=12,
            answer_budget=6,
        )
        assert run(wanted).answers == 4
        told.append([{key: row[key] for key in ("problem", "text", "usable")} for row in answers(wanted)])
    assert sorted(told[0], key=str) == sorted(told[1], key=str)

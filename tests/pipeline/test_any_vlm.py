"""A model whose images only its own processor reads: trained on text, grafted, asked about pictures."""

import json
from pathlib import Path

import pytest
import transformers
from tests.rollout.generate_families import save_family

import xreasoner
from xreasoner.storage.run_folder import read_manifest

ROOT = Path(__file__).parent.parent.parent
RECIPE = """
name: any
model: {folder}/vlm
stages:
  sft:
    kind: sft
    data: [{{source: jsonl, path: {folder}/train.jsonl}}]
    steps: 2
    lr: 1e-2
    tokens_per_step: 64
    tokens_per_microbatch: 64
    max_length: 64
evaluation:
  think_budget: 4
  answer_budget: 4
  dtype: float32
  benchmarks: [{{source: python, name: bars, function: "{root}/examples/my_benchmark.py:make"}}]
"""


@pytest.mark.skipif(
    "torchvision" in getattr(transformers.Idefics2ImageProcessorPil, "_backends", ()),
    reason="older transformers open this processor only beside torchvision",
)
def test_it_goes_through_all_stages(tmp_path: Path) -> None:
    (tmp_path / "vlm").mkdir()
    save_family("idefics2", tmp_path / "vlm")
    rows = [{"question": f"w{n} w11", "answer": f"w{n + 1}", "reasoning": "w20 w21"} for n in range(30, 36)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "any.yaml").write_text(RECIPE.format(folder=tmp_path, root=ROOT))
    run = xreasoner.run(tmp_path / "any.yaml", f"out={tmp_path / 'run'}", quiet=True)
    for stage in ("base", "sft"):
        manifest = read_manifest(run / "evals" / stage)
        assert manifest is not None and manifest.made_from["engine"] == "generate"
        samples = [json.loads(line) for line in (run / "evals" / stage / "bars.jsonl").open()]
        assert len(samples) == 10 and not any(sample["broken"] for sample in samples)
        assert all(sample["forced"] and sample["think_tokens"] <= 4 for sample in samples)
    log = (run / "log").read_text()
    assert log.count("transformers' own generate answers, one question at a time") == 2
    assert (run / "stages" / "1-sft" / "checkpoint" / "processor_config.json").exists()

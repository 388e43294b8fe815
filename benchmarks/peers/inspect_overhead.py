"""The evaluation in inspect_ai, run by its own Python: `python inspect_overhead.py ITEMS LOGS CLOCK`."""

import json
import sys
import time
from pathlib import Path

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import choice
from inspect_ai.solver import multiple_choice


def reply(text: str) -> ModelOutput:
    """With the usage given, so that no time is spent counting tokens."""
    output = ModelOutput.from_content("mockllm/model", text)
    output.usage = ModelUsage(input_tokens=100, output_tokens=200, total_tokens=300)
    return output


def main(items_path: str, logs: str, clock: str) -> None:
    items = json.loads(Path(items_path).read_text())
    samples = [
        Sample(id=f"q{i}", input=one["question"], choices=one["choices"], target=one["key"])
        for i, one in enumerate(items)
    ]
    text = f"{'so ' * 200}\n\nANSWER: A"
    model = get_model("mockllm/model", custom_outputs=(reply(text) for _ in items))
    task = Task(dataset=MemoryDataset(samples), solver=multiple_choice(), scorer=choice())
    read = {"wall": time.perf_counter, "cpu": time.process_time}[clock]
    began = read()
    # As fast as possible: no display, no live log, all samples at once.
    (log,) = eval(
        task,
        model=model,
        display="none",
        log_dir=logs,
        log_realtime=False,
        max_samples=len(items),
        max_connections=len(items),
    )
    seconds = read() - began
    assert log.status == "success" and log.results is not None
    accuracy = log.results.scores[0].metrics["accuracy"].value
    print(json.dumps({"seconds": seconds, "accuracy": accuracy}))


if __name__ == "__main__":
    main(*sys.argv[1:])

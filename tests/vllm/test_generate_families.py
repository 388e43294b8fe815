"""Here because vLLM brings torchvision, which the processors of these families need."""

from pathlib import Path

import pytest
import torch
from tests.rollout.generate_families import PICTURED, assert_answers_as_generate, save_family

from xreasoner.recipe.schema import Evaluation
from xreasoner.rollout.choose import open_engine
from xreasoner.rollout.generate_engine import GenerateEngine


@pytest.mark.parametrize("family", [name for name, one in PICTURED.items() if one.wants_torchvision])
def test_families_that_only_their_own_processor_reads(family: str, tmp_path: Path) -> None:
    save_family(family, tmp_path)
    engine = open_engine(tmp_path, Evaluation(dtype="float32", engine="generate"), torch.device("cpu"))
    assert isinstance(engine, GenerateEngine)
    assert_answers_as_generate(engine, tmp_path)

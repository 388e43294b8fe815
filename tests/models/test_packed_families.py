"""Every family can be trained packed: loss and gradients equal those of plain transformers, one by one."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, PreTrainedModel

from xreasoner.chat.template import Example
from xreasoner.models.packed_attention import packed_attention
from xreasoner.models.surgery import detach
from xreasoner.train.loss import LanguageModelLoss
from xreasoner.train.rows import pack


def examples() -> list[Example]:
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randint(3, 60, (length,), generator=generator).tolist() for length in (13, 7, 21)]
    return [Example(tuple(ids), (False,) * 4 + (True,) * (len(ids) - 4)) for ids in drawn]


def gradient(lm: PreTrainedModel) -> dict[str, Tensor]:
    found = {name: weight.grad.clone() for name, weight in lm.named_parameters() if weight.grad is not None}
    lm.zero_grad()
    return found


def one_by_one(lm: PreTrainedModel, example: Example) -> Tensor:
    ids_1T = torch.tensor([example.ids])
    logits_TV = lm(input_ids=ids_1T).logits[0]
    loss_T = F.cross_entropy(logits_TV[:-1], ids_1T[0, 1:], reduction="none")
    return loss_T[torch.tensor(example.is_target[1:])].sum()


def assert_packed_is_one_by_one(lm: PreTrainedModel) -> None:
    expected = sum((one_by_one(lm, example) for example in examples()), torch.zeros(()))
    expected.backward()
    wanted = gradient(lm)
    with packed_attention(lm):
        packed = LanguageModelLoss(lm)(pack(examples(), torch.device("cpu"))).loss
        packed.backward()
    assert packed.item() == pytest.approx(expected.item(), rel=1e-5)
    found = gradient(lm)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=1e-3, atol=2e-5, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_packed_training_is_training_one_by_one(vlm: Path, tmp_path: Path) -> None:
    detach(vlm, tmp_path / "lm")
    lm = AutoModelForCausalLM.from_pretrained(tmp_path / "lm", dtype=torch.float32)
    assert_packed_is_one_by_one(lm)

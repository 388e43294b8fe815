import pytest
import torch
from torch.nn import functional as F

from xreasoner.miniworld.probes.turning import TOWARDS, Towards, Turning, turned


def test_a_token_is_turned_by_hand() -> None:
    seen, towards = torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([[7.0, 3.0], [-1.0, 9.0]])
    # across: (0, 1) and (-1, 0); 0.6 and 0.8 of the lengths 2 and 5
    expected = torch.tensor([[1.2, 1.6], [-4.0, 3.0]])
    torch.testing.assert_close(turned(seen, towards, 0.6), expected)
    torch.testing.assert_close(turned(seen, towards, 1.0), seen)


@pytest.mark.parametrize("towards", TOWARDS)
def test_directions_are_shared_as_they_say(towards: Towards) -> None:
    torch.manual_seed(1)
    words = torch.randn(3, 16)
    turning = Turning(torch.nn.Identity(), words, towards, 0.5)
    seen = turning(words[[0, 1, 0]])
    cosines = F.cosine_similarity(seen, words[[0, 1, 0]], dim=-1)
    torch.testing.assert_close(cosines, torch.full((3,), 0.5))
    torch.testing.assert_close(seen.norm(dim=-1), words[[0, 1, 0]].norm(dim=-1))
    assert torch.equal(seen[0], seen[2]) == (towards != "another each time")
    moved = seen - 0.5 * words[[0, 1, 0]]  # in the plane of the word and the direction
    both = torch.stack([words[0], words[1], moved[0], moved[1]])
    assert torch.linalg.matrix_rank(both, atol=1e-3) == (3 if towards == "one direction" else 4)

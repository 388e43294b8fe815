"""Fixtures that several folders of tests share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random vision-language checkpoint of the mini-world's class, of 90 thousand parameters."""
    from xreasoner.miniworld.model import Size, new_base, save_base

    size = Size(
        hidden=32,
        layers=2,
        heads=2,
        kv_heads=1,
        mlp=64,
        vision_hidden=32,
        vision_layers=1,
        rope_sections=(0, 1, 7),
    )
    out = tmp_path_factory.mktemp("tiny") / "base"
    save_base(new_base(0, size)[0], out)
    return out

"""The base checkpoint appears when all of it is there, so the same command can be run again."""

from pathlib import Path

import pytest

from xreasoner.miniworld.model import Size, new_model
from xreasoner.miniworld.tied import tied_base
from xreasoner.miniworld.tokenizer import build_tokenizer
from xreasoner.storage.folders import damage_in

SIZE = Size(32, 1, 2, 1, 64, vision_hidden=32, vision_layers=1, rope_sections=(0, 1, 7))


def test_a_base_that_was_interrupted_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tied_base, "make_tied_base", lambda settings, say: (new_model(settings.size, 0), build_tokenizer())
    )
    out, settings = tmp_path / "base", tied_base.TiedSettings(size=SIZE)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tied_base, "base_accuracies", stopped)
    with pytest.raises(KeyboardInterrupt):
        tied_base.build_tied_base(settings, out, lambda line: None)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".base.unfinished-7").mkdir()  # what a kill leaves
    monkeypatch.setattr(tied_base, "base_accuracies", lambda *_: {"read": 0.5})
    tied_base.build_tied_base(settings, out, lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
    assert damage_in(out) is None and (out / "measured.json").read_text() == '{\n "read": 0.5\n}\n'
    with pytest.raises(ValueError, match="base exists and is not an empty folder: choose another name"):
        tied_base.build_tied_base(settings, out, lambda line: None)

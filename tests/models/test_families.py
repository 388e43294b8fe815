from typing import Any

from xreasoner.models.families import FAMILIES


def test_every_family_and_tower_is_among_the_models_under_test(kinds: list[dict[str, Any]]) -> None:
    tested = {(kind["model_type"], kind["text_config"]["model_type"]) for kind in kinds}
    for model_type, family in FAMILIES.items():
        towers = (f"{model_type}_text",) if family.own_text_class else family.towers
        assert {(model_type, tower) for tower in towers} <= tested, f"add {family.name} to conftest.KINDS"

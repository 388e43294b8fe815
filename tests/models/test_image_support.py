"""Which checkpoints can be asked about images is known from their files, before anything is loaded."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image
from transformers import AutoProcessor, BaseImageProcessor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from xreasoner.models.families import FAMILIES
from xreasoner.models.image_support import (
    PixelRange,
    image_tokens,
    known_placeholder,
    pixel_range,
    reads_videos,
    why_no_images,
)
from xreasoner.models.load import load_image_processor, load_tokenizer
from xreasoner.models.resolve import resolve_model


def checkpoint(folder: Path, model_type: str, template: str) -> Path:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vision_config": {}}))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    return folder


@pytest.mark.parametrize("model_type", [name for name, family in FAMILIES.items() if family.placeholder])
def test_every_supported_family_can_be_asked(model_type: str, tmp_path: Path) -> None:
    placeholder = FAMILIES[model_type].placeholder
    folder = checkpoint(tmp_path, model_type, f"{{% for part in x %}}{placeholder}\n{{% endfor %}}")
    assert why_no_images(folder) is None
    (folder / "chat_template.jinja").write_text("words only")
    assert why_no_images(folder) == f"its chat template does not write {placeholder} for an image"


def test_what_a_checkpoint_lacks_is_one_line(tmp_path: Path) -> None:
    unknown = checkpoint(tmp_path, "kosmos-2", "")
    assert why_no_images(unknown) is None and known_placeholder(unknown) is None
    (tmp_path / "config.json").write_text(
        '{"model_type": "llava", "vision_config": {"model_type": "pixtral"}}'
    )
    assert why_no_images(tmp_path) == "its chat template does not write [IMG] for an image"
    checkpoint(tmp_path, "llava", "<image>")
    (tmp_path / "preprocessor_config.json").unlink()
    assert why_no_images(tmp_path) == "it has no image processor (preprocessor_config.json)"
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    assert why_no_images(tmp_path) == "this model is text-only"


def test_the_shipped_base_can_be_asked() -> None:
    assert why_no_images(resolve_model("miniworld")) is None


def test_the_range_of_pixels_is_the_checkpoints_unless_set() -> None:
    base = resolve_model("miniworld")
    assert pixel_range(base) == (784, 200704)
    assert pixel_range(base, high=784 * 4) == (784, 784 * 4)
    assert pixel_range(base, low=262144) == (262144, 262144)
    assert image_tokens(base, 262144) == 262144 // 28**2
    with pytest.raises(ValueError, match="min_pixels 9,000 is above max_pixels 800"):
        pixel_range(base, 9000, 800)


def test_other_families_have_one_size(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "llava", "<image>")
    assert pixel_range(folder) is None
    with pytest.raises(ValueError, match="for Qwen-VL models, not llava"):
        pixel_range(folder, high=1000)


@pytest.mark.parametrize(("pixels", "tokens"), [((784, 784), 1), ((784 * 16, 784 * 16), 16)])
def test_images_are_scaled_into_the_range(pixels: tuple[int, int], tokens: int) -> None:
    processor = load_image_processor(resolve_model("miniworld"), PixelRange(*pixels))
    assert isinstance(processor, BaseImageProcessor)
    grid = processor(images=[Image.new("RGB", (112, 112))], return_tensors="pt")["image_grid_thw"]
    assert int(grid.prod()) // 4 == tokens


@pytest.mark.skipif(find_spec("torchvision") is not None, reason="torchvision is installed")
def test_the_whole_processor_wants_torchvision_only_where_it_reads_videos(tmp_path: Path) -> None:
    base, llava = resolve_model("miniworld"), tmp_path
    assert reads_videos(base)
    with pytest.raises(ImportError, match="Torchvision"):
        AutoProcessor.from_pretrained(base)
    (llava / "config.json").write_text('{"model_type": "llava"}')
    CLIPImageProcessorPil().save_pretrained(llava)
    load_tokenizer(base).save_pretrained(llava)
    assert not reads_videos(llava)
    processor = AutoProcessor.from_pretrained(llava)
    assert type(processor).__name__ == "LlavaProcessor"
    assert processor.image_processor(Image.new("RGB", (9, 9)))["pixel_values"][0].shape == (3, 224, 224)

"""How each vision-language family holds an image in a prompt: its tokens and the model's inputs.

A chat template writes one placeholder per image. It is replaced by the image's tokens, whose number and order
follow from what the image processor returns. The rules are those of the families' processors in transformers,
which need further packages. Qwen's families, which repeat one token, are in `template.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedConfig

Read = Callable[[Sequence[Image.Image]], tuple[dict[str, Tensor], list[str]]]
"""From images to the model's inputs and, for each image, its tokens as text."""


@dataclass(frozen=True)
class FamilyImages:
    """Stands in for the bare image processor of a family that is not Qwen's."""

    placeholder: str
    read: Read
    marked_token: int | None = None
    """Image tokens with this id attend to each other in both directions; the model wants them marked."""


def llava(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    vision = config.vision_config
    # CLIP has a class token, which the default strategy drops.
    extra = (vision.model_type == "clip_vision_model") - (config.vision_feature_select_strategy == "default")

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images)
        height, width = inputs["pixel_values"].shape[-2:]
        count = (height // vision.patch_size) * (width // vision.patch_size) + extra
        return inputs, [placeholder * count] * len(images)

    return FamilyImages(placeholder, read)


def internvl(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images, crop_to_patches=True)
        counts = [int(number) * config.image_seq_length for number in inputs.pop("num_patches")]
        return inputs, [f"<img>{placeholder * count}</img>" for count in counts]

    return FamilyImages(placeholder, read)


def gemma3(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    whole = f"\n\n{placeholder}{'<image_soft_token>' * config.mm_tokens_per_image}<end_of_image>\n\n"

    def tokens(crops: int) -> str:
        if not crops:
            return whole
        seen = "and here are some crops to help you see better"
        return f"Here is the original image {whole} {seen} " + " ".join([whole] * crops)

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images)
        return inputs, [tokens(int(crops)) for crops in inputs.pop("num_crops")]

    return FamilyImages(placeholder, read, marked_token=config.image_token_id)


def idefics3(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    """SmolVLM too: an image is cut into tiles, with row and column, and shown whole after them."""
    vision = config.vision_config
    one = placeholder * ((vision.image_size // vision.patch_size) ** 2 // config.scale_factor**2)
    mark = "<fake_token_around_image>"

    def tokens(rows: int, columns: int) -> str:
        tiles = "".join(
            "".join(f"{mark}<row_{row + 1}_col_{column + 1}>{one}" for column in range(columns)) + "\n"
            for row in range(rows)
        )
        return f"{tiles}\n{mark}<global-img>{one}{mark}" if tiles else f"{mark}<global-img>{one}{mark}"

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, [list(images)], return_row_col_info=True)
        (rows,), (columns,) = inputs.pop("rows"), inputs.pop("cols")
        return inputs, [tokens(int(r), int(c)) for r, c in zip(rows, columns, strict=True)]

    return FamilyImages(placeholder, read)


def mistral3(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    side = config.vision_config.patch_size * config.spatial_merge_size

    def tokens(height: int, width: int) -> str:
        rows = [placeholder * (width // side)] * (height // side)
        return "[IMG_BREAK]".join(rows) + "[IMG_END]"

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images, patch_size=side)
        return inputs, [tokens(int(height), int(width)) for height, width in inputs["image_sizes"]]

    return FamilyImages(placeholder, read)


def processed(processor: BaseImageProcessor, images: Sequence[Any], **settings: Any) -> dict[str, Any]:
    return dict(processor(images=list(images), return_tensors="pt", **settings))


FAMILY_IMAGES: Mapping[str, Callable[[BaseImageProcessor, PreTrainedConfig, str], FamilyImages]] = {
    "llava": llava,
    "internvl": internvl,
    "gemma3": gemma3,
    "idefics3": idefics3,
    "smolvlm": idefics3,
    "mistral3": mistral3,
}
"""By model type. The Qwen families have no entry: `template.py` needs only their image processor."""

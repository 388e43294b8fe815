"""How each vision-language family holds an image in a prompt: its tokens and the model's inputs.

A chat template writes one placeholder per image. It is replaced by the image's tokens, whose number and order
follow from what the image processor returns. The rules are those of the families' processors in transformers,
which need further packages. Qwen's families, which repeat one token, are in `template.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import BaseImageProcessor, PreTrainedConfig
from transformers.image_processing_utils import select_best_resolution

ReadImages = Callable[[Sequence[Image.Image]], tuple[dict[str, Tensor], list[str]]]
"""From images to the model's inputs and, for each image, its tokens as text."""


@dataclass(frozen=True)
class FamilyImages:
    """Stands in for the bare image processor of a family that is not Qwen's."""

    placeholder: str
    read: ReadImages
    marked_token: int | None = None
    """Image tokens with this id attend to each other in both directions; the model wants them marked."""


def llava(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    vision, extra = config.vision_config, class_tokens(config)
    if vision.model_type == "pixtral":
        return in_rows(processor, vision.patch_size, placeholder)

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images)
        height, width = inputs["pixel_values"].shape[-2:]
        count = (height // vision.patch_size) * (width // vision.patch_size) + extra
        return inputs, [placeholder * count] * len(images)

    return FamilyImages(placeholder, read)


def class_tokens(config: PreTrainedConfig) -> int:
    """CLIP has a class token, which the default strategy drops."""
    has_one = config.vision_config.model_type == "clip_vision_model"
    return has_one - (config.vision_feature_select_strategy == "default")


def llava_next(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    """The image whole, then in tiles without their padding; each row of the tiles ends with a token more."""
    side = config.vision_config.image_size // config.vision_config.patch_size

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images)
        counts = []
        for height, width in inputs["image_sizes"].tolist():
            rows, columns = unpadded(config, height, width)
            counts.append(side**2 + class_tokens(config) + rows * (columns + 1))
        return inputs, [placeholder * count for count in counts]

    return FamilyImages(placeholder, read)


def llava_onevision(
    processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str
) -> FamilyImages:
    """As LLaVA-NeXT, with an upper limit of tokens; several images of a prompt are shown whole only."""
    side = config.vision_config.image_size // config.vision_config.patch_size
    tiles = int(config.vision_aspect_ratio.removeprefix("anyres_max_"))

    def tokens(height: int, width: int) -> int:
        rows, columns = unpadded(config, height, width)
        ratio = math.sqrt(rows * columns / (tiles * side**2))
        if ratio > 1.1:
            rows, columns = int(rows // ratio), int(columns // ratio)
        return side**2 + rows * (columns + 1)

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, [list(images)])
        if len(images) > 1:
            return inputs, [placeholder * (side**2 + 1)] * len(images)
        ((height, width),) = inputs["image_sizes"].tolist()
        return inputs, [placeholder * tokens(height, width)]

    return FamilyImages(placeholder, read)


def unpadded(config: PreTrainedConfig, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches that show an image of this size in the best grid of tiles."""
    vision = config.vision_config
    side = vision.image_size // vision.patch_size
    best = select_best_resolution((height, width), config.image_grid_pinpoints)
    rows, columns = (pixels // vision.image_size * side for pixels in best)
    if width / height > columns / rows:
        shown = int(round(height * (columns / width), 7))
        return rows - (rows - shown) // 2 * 2, columns
    shown = int(round(width * (rows / height), 7))
    return rows, columns - (columns - shown) // 2 * 2


def aya_vision(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    """An image is cut into numbered tiles and shown whole after them."""
    vision = config.vision_config
    patches = (vision.image_size // (vision.patch_size * config.downsample_factor)) ** 2
    one = "<|IMG_PATCH|>" * patches

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images, crop_to_patches=True)
        cuts = (
            "".join(f"TILE_{tile}{one}" for tile in range(1, int(number)))
            for number in inputs.pop("num_patches")
        )
        return inputs, [f"<|START_OF_IMG|>{tiles}TILE_GLOBAL{one}<|END_OF_IMG|>" for tiles in cuts]

    return FamilyImages(placeholder, read)


def ovis2(processor: BaseImageProcessor, config: PreTrainedConfig, placeholder: str) -> FamilyImages:
    """An image is shown whole, and after that in tiles, with marks between columns and rows."""
    vision = config.vision_config
    one = "<IMG_ATOM>" * (vision.image_size // vision.patch_size // vision.hidden_stride) ** 2

    def tokens(rows: int, columns: int) -> str:
        tiles = "<IMG_ROW>".join(["<IMG_COL>".join([one] * columns)] * rows) if rows * columns > 1 else ""
        return f"<IMG_START>{one}<IMG_GRID>{tiles}<IMG_END>"

    def read(images: Sequence[Image.Image]) -> tuple[dict[str, Tensor], list[str]]:
        inputs = processed(processor, images)
        return inputs, [tokens(int(rows), int(columns)) for rows, columns in inputs.pop("grids")]

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
    return in_rows(processor, config.vision_config.patch_size * config.spatial_merge_size, placeholder)


def in_rows(processor: BaseImageProcessor, side: int, placeholder: str) -> FamilyImages:
    """A token for each square of `side` pixels, and a mark after each row."""

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
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "aya_vision": aya_vision,
    "ovis2": ovis2,
    "internvl": internvl,
    "gemma3": gemma3,
    "idefics3": idefics3,
    "smolvlm": idefics3,
    "mistral3": mistral3,
}
"""By model type. Those of Qwen and GLM have no entry: `template.py` needs only their image processor."""

"""The files beside the weights (tokenizer, templates, settings), and folders written as a whole."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xreasoner.storage.files import sweep_for
from xreasoner.storage.folders import folder_written_atomically

TEXT_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tekken.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
TEMPLATE_FOLDER = "additional_chat_templates"
WEIGHT_ENDINGS = (
    ".safetensors",
    ".index.json",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".gguf",
    ".onnx",
)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to fill that may not replace another one."""
    refuse_filled(out)
    sweep_for(out)
    with folder_written_atomically(out) as folder:
        yield folder


def refuse_filled(out: Path) -> None:
    """Before long work whose result goes into a new folder."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder: choose another name or remove it")


def copy_text_files(vlm: Path, out: Path) -> None:
    """What a text model needs, and nothing that would make a loader expect images."""
    for name in TEXT_FILES:
        if (vlm / name).is_file():
            shutil.copyfile(vlm / name, out / name)
    _copy_template_folder(vlm, out)
    _copy_tokenizer_config(vlm, out)
    _give_template_to_tokenizer(out)


ABOUT_THE_ORIGINAL = ("README.md", "measured.json")
"""They describe a model with other weights."""


def copy_all_but_weights(vlm: Path, out: Path) -> None:
    """Weights in other formats are left out too: they would be the old weights."""
    for file in vlm.iterdir():
        if file.is_file() and not file.name.endswith((*WEIGHT_ENDINGS, *ABOUT_THE_ORIGINAL)):
            shutil.copyfile(file, out / file.name)
    _copy_template_folder(vlm, out)


def _copy_template_folder(vlm: Path, out: Path) -> None:
    if (vlm / TEMPLATE_FOLDER).is_dir():
        shutil.copytree(vlm / TEMPLATE_FOLDER, out / TEMPLATE_FOLDER)


def _copy_tokenizer_config(vlm: Path, out: Path) -> None:
    source = vlm / "tokenizer_config.json"
    if source.is_file():
        config = json.loads(source.read_text())
        # Trainers open `AutoProcessor` first; this entry would make it load an image processor.
        config.pop("processor_class", None)
        (out / source.name).write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def _give_template_to_tokenizer(out: Path) -> None:
    """Older VLM releases store the chat template with the processor only, where text loaders do not look."""
    processor_template, own_template = out / "chat_template.json", out / "chat_template.jinja"
    config = out / "tokenizer_config.json"
    has_own = own_template.is_file() or (
        config.is_file() and "chat_template" in json.loads(config.read_text())
    )
    if processor_template.is_file() and not has_own:
        own_template.write_text(json.loads(processor_template.read_text())["chat_template"])

"""The command that starts vLLM; tests/vllm run it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xreasoner.serve.serve_settings import ServeSettings
from xreasoner.serve.snippets import curl_snippet, openai_snippet
from xreasoner.serve.vllm_command import vllm_command

SETTINGS = ServeSettings("x-med", "0.0.0.0", 9000, think_budget=100, answer_budget=20)


BESIDE = json.dumps({"chat_template": "{{ messages }}"})


def checkpoint(folder: Path, vision: bool = True, **files: str) -> Path:
    (folder / "config.json").write_text(json.dumps({"vision_config": {}} if vision else {}))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_a_vision_model(tmp_path: Path) -> None:
    command = vllm_command(checkpoint(tmp_path), SETTINGS)
    assert command[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    assert option(command, "--model") == str(tmp_path)
    assert (option(command, "--served-model-name"), option(command, "--port")) == ("x-med", "9000")
    assert option(command, "--reasoning-parser") == "xreasoner"
    assert Path(option(command, "--reasoning-parser-plugin")).is_file()
    assert json.loads(option(command, "--reasoning-config"))["reasoning_end_str"] == "\n</think>\n"
    assert json.loads(option(command, "--limit-mm-per-prompt")) == {"image": 16, "video": 0}
    # Both budgets and room for the injected text.
    limit = {"max_new_tokens": 100 + 20 + 10}
    assert json.loads(option(command, "--override-generation-config")) == limit | {"temperature": 0.0}
    assert "--max-model-len" not in command and "--chat-template" not in command


def test_a_checkpoints_own_sampling_defaults_are_kept(tmp_path: Path) -> None:
    generation = json.dumps({"do_sample": True, "temperature": 0.6})
    command = vllm_command(checkpoint(tmp_path, generation_config__json=generation), SETTINGS)
    assert "temperature" not in json.loads(option(command, "--override-generation-config"))


def test_on_a_cpu_no_chunked_prefill_and_limited_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_gpu in (False, True):
        monkeypatch.setattr("torch.cuda.is_available", lambda found=is_gpu: found)
        command = vllm_command(checkpoint(tmp_path), SETTINGS)
        assert ("--no-enable-chunked-prefill" in command) is not is_gpu
        assert is_gpu or 2**28 <= int(option(command, "--kv-cache-memory-bytes")) <= 2**33


def test_a_text_model_and_extra_options_which_come_last(tmp_path: Path) -> None:
    settings = ServeSettings("x", context=512)
    command = vllm_command(checkpoint(tmp_path, vision=False), settings, ["--dtype", "float32"])
    assert "--limit-mm-per-prompt" not in command
    assert option(command, "--max-model-len") == "512"
    assert command[-2:] == ["--dtype", "float32"]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"chat_template__json": BESIDE}, True),
        ({"chat_template__json": BESIDE, "chat_template__jinja": ""}, False),
        ({"chat_template__json": BESIDE, "tokenizer_config__json": '{"chat_template": "x"}'}, False),
        ({"chat_template__json": BESIDE, "tokenizer_config__json": "{}"}, True),
    ],
)
def test_a_chat_template_that_vllm_would_not_find_is_passed(
    tmp_path: Path, files: dict[str, str], named: bool
) -> None:
    command = vllm_command(checkpoint(tmp_path, **files), SETTINGS)
    assert ("--chat-template" in command) is named
    assert not named or option(command, "--chat-template") == "{{ messages }}"


def test_the_snippets_are_valid_and_never_contain_the_key(tmp_path: Path) -> None:
    shell = curl_snippet("http://h:1", "it's", key_from="MY_KEY").replace("curl ", "printf '%s\\n' ", 1)
    script = f"MY_KEY=secret; {shell}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    url, header, key, *_, body = done.stdout.splitlines()
    assert (url, header, key) == ("http://h:1/v1/chat/completions", "-H", "Authorization: Bearer secret")
    assert json.loads(body)["model"] == "it's"
    compile(openai_snippet("http://h:1", "x", 5, key_from="MY_KEY"), "snippet", "exec")
    assert 'os.environ["MY_KEY"]' in openai_snippet("http://h:1", "x", 5, key_from="MY_KEY")

"""The commands that answer: an OpenAI-compatible server, and a chat in the terminal."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from xreasoner.cli.console import console, say
from xreasoner.launch import interrupts

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A folder, a hub id, or `miniworld`.")]
ThinkBudget = Annotated[int, typer.Option(min=0, help="Tokens after which the thought is closed.")]
AnswerBudget = Annotated[int, typer.Option(min=1, help="Tokens after the thought.")]


def serve(
    model: Model,
    host: Annotated[str, typer.Option(help="0.0.0.0 accepts other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8000,
    think_budget: ThinkBudget = 4096,
    answer_budget: AnswerBudget = 512,
    engine: Annotated[
        Literal["auto", "vllm", "torch"], typer.Option(help="auto: vllm if installed.")
    ] = "auto",
    context: Annotated[
        int | None, typer.Option(min=1, help="Longest prompt with its answer, in tokens.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Concurrent requests of the torch engine.")] = 16,
    key_from: Annotated[str | None, typer.Option(help="Environment variable with the API key.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model for clients.")] = None,
    more: Annotated[list[str] | None, typer.Argument(help="After `--`: options for `vllm serve`.")] = None,
) -> None:
    """Serve MODEL with an OpenAI-compatible API, through vLLM or on a small torch server."""
    from xreasoner.models.resolve import resolve_model, short_name
    from xreasoner.serve.serve_settings import ServeSettings
    from xreasoner.serve.snippets import greeting

    interrupts.as_usual()
    checkpoint, key = resolve_model(model), read_key(key_from)
    settings = ServeSettings(name or short_name(model), host, port, think_budget, answer_budget, context)
    if engine != "torch" and vllm_is_there(engine):
        from xreasoner.serve.vllm_command import exec_vllm

        say(greeting(f"http://{host}:{port}", settings, key_from))
        exec_vllm(checkpoint, settings, key, more or [])
    if more:
        raise ValueError(f"{' '.join(more)}: further options are for vllm serve; the torch server takes none")
    from xreasoner.serve.torch_server import load_for_serving, torch_server

    with torch_server(load_for_serving(checkpoint), settings, rows, key) as server:
        say(greeting(server.url, settings, key_from))
        say(f"{settings.name} is served at {server.url}/v1; stop with Ctrl-C")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def chat(
    model: Model,
    image: Annotated[list[Path] | None, typer.Option(help="An image for the first question.")] = None,
    instruction: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.0,
    think_budget: ThinkBudget = 4096,
    answer_budget: AnswerBudget = 512,
) -> None:
    """Chat with MODEL in the terminal; thoughts are dimmed."""
    from xreasoner.models.resolve import resolve_model, short_name
    from xreasoner.serve.serve_settings import ServeSettings
    from xreasoner.serve.terminal import TerminalChat, run_chat
    from xreasoner.serve.torch_server import load_for_serving, torch_service

    interrupts.as_usual()
    settings = ServeSettings(short_name(model), think_budget=think_budget, answer_budget=answer_budget)
    with torch_service(load_for_serving(resolve_model(model)), settings, rows=1) as service:
        terminal_chat = TerminalChat(service, console, instruction, temperature)
        for file in image or []:
            terminal_chat.add_image(file)
        run_chat(terminal_chat, console, lambda: console.input("[bold]> "))


def vllm_is_there(engine: str) -> bool:
    from xreasoner.rollout.vllm_engine.options import why_not_vllm

    trouble = why_not_vllm()
    if trouble and engine == "vllm":
        raise ValueError(f"engine vllm: {trouble}")
    return not trouble


def read_key(variable: str | None) -> str | None:
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise ValueError(f"--key-from {variable}: this environment variable is not set")
    return os.environ[variable]


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")],
    to: Annotated[str | None, typer.Option(help="A hub repository, as in me/my-model.")] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder to write instead.")] = None,
    stage: Annotated[str | None, typer.Option(help="By default the last one.")] = None,
    public: Annotated[bool, typer.Option("--public", help="Not private, if the repository is new.")] = False,
) -> None:
    """Publish a trained stage of RUN: weights that load anywhere, a model card, the recipe, the results."""
    from xreasoner.models.resolve import HUB_ID
    from xreasoner.report.push import push as upload
    from xreasoner.report.push import write_release

    if (to is None) == (out is None):
        raise ValueError("push: give a repository with --to OWNER/NAME, or a folder with --out")
    if out is not None:
        write_release(run, stage, out.name, out)
        say(f"{out}: ready to upload; README.md is its model card")
    elif to is not None:
        if not HUB_ID.match(to):
            raise ValueError(f"--to {to}: not a hub repository; it has the form OWNER/NAME")
        say(upload(run, stage, to, public))

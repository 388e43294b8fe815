"""The console that every command prints to."""

from rich.console import Console

console = Console()


def say(line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)

"""`python -m xreasoner`, as torchrun calls it."""

from xreasoner.cli import main

main()

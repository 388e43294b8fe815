"""`python -m xreasoner`, as torchrun calls it."""

from xreasoner.cli.main import main

main()

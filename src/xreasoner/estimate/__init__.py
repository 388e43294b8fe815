"""What a recipe will need before anyone burns a night: memory, tokens, time."""

"""Engines: prompts in, rollouts out, with thinking budgets and forced exit."""

"""Memory, tokens and hours, before a recipe runs."""

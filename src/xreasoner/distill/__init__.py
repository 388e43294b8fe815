"""A teacher's chains of thought, verified."""

"""The chat template, and the tags around a thought."""

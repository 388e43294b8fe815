"""Loading, detaching and grafting the language model, packed attention, checkpoints."""

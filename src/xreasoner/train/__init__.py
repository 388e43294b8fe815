"""Two training loops, SFT and GRPO, over pure functions."""

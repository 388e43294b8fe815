"""A GRPO stage on a Ray cluster, trained by verl 0.9.1: export it, train it there, import the result.

`agent_loop` and `reward` run inside verl's own workers; the other files run before and after them.
"""

"""The in-process engine: continuous batching in plain PyTorch, on any CPU or GPU."""

"""The speed of GPUs, from the vendors' data sheets."""

PEAKS: dict[str, float] = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "A6000": 155e12,
    "RTX5090": 210e12,
    "RTX4090": 165e12,
    "RTX3090": 71e12,
    "L4": 121e12,
    "T4": 65e12,
}
"""Dense bfloat16 (T4: float16) operations per second."""
BANDWIDTHS: dict[str, float] = {
    "B200": 8.0e12,
    "H200": 4.8e12,
    "H100": 3.35e12,
    "A100": 2.0e12,
    "L40S": 0.86e12,
    "A6000": 0.77e12,
    "RTX5090": 1.79e12,
    "RTX4090": 1.01e12,
    "RTX3090": 0.94e12,
    "L4": 0.3e12,
    "T4": 0.32e12,
}
"""Memory bandwidth in bytes per second, the bound of generation."""


def gpu_in(device_name: str) -> str | None:
    """`NVIDIA GeForce RTX 4090` is an RTX4090; an L40S is no L4."""
    words = device_name.upper().replace("RTX A", "A").replace("RTX ", "RTX").replace("-", " ").split()
    return next((name for name in PEAKS if name in words), None)

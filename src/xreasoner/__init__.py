"""X-Reasoner: post-train a vision-language model on text alone, and measure what carries over to images."""

__version__ = "0.1.0"

"""Seeds that depend on a sample's seed, prompt and number only, never on the rest of the batch."""

import hashlib

LARGEST_SEED = 2**31


def stream_key(seed: int, prompt_id: str, sample: int) -> int:
    """The key of a sample's own stream of random numbers, 64 bits with sign."""
    digest = hashlib.blake2b(f"{seed}\n{sample}\n{prompt_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def segment_seed(seed: int, prompt_id: str, sample: int, position: int) -> int:
    """For engines that take a seed per request: each segment, which starts at `position`, has its own."""
    return stream_key(seed, f"{position} {prompt_id}", sample) % LARGEST_SEED


def chat_seed(seed: int, prompt_id: str, sample: int, segment: int = 0) -> int:
    """For chat servers: the same question gets the same seed, whatever was asked before it."""
    name = f"{seed} {prompt_id} {sample}" + (f" {segment}" if segment else "")
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % LARGEST_SEED

"""Which arm of an alias answers for a subject. No Django here."""

import hashlib


def share_of(subject: str, salt: str) -> float:
    """A subject's place from 0 to 100, uniformly distributed; another salt reshuffles the subjects.

    The first 64 bits of SHA-256: the same in every process and after every restart.
    """
    digest = hashlib.sha256(f"{salt}:{subject}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * 100

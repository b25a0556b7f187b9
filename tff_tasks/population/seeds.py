"""Every random number of a run from one secret: who is sampled, in which order a client trains, the noise.

A run that is resumed draws what it would have drawn. Whoever knows the secret can recompute the sampling and the noise
and so undo the privacy, which is why it comes from the operating system unless a seed is asked for, and why it is kept
in the checkpoint and never in the released files.
"""

import dataclasses
import hashlib
import secrets

import numpy as np

_SECRET_BYTES = 32


@dataclasses.dataclass(frozen=True)
class Seed:
  """The secret of a run.

  Attributes:
    secret: Bytes that everything is derived from.
  """

  secret: bytes = dataclasses.field(repr=False)

  @classmethod
  def from_system(cls) -> 'Seed':
    """Returns a seed that nobody can guess."""
    return cls(secrets.token_bytes(_SECRET_BYTES))

  @classmethod
  def from_number(cls, number: int) -> 'Seed':
    """Returns the seed for a number given on the command line, for experiments that must be repeatable."""
    return cls(hashlib.sha256(f'pocketfed seed {number}'.encode()).digest())

  def stream(self, purpose: str, *details: int | bytes) -> np.random.Generator:
    """Returns random numbers for one purpose, for example `('examples', round_number, client_id)`.

    They are quick and not cryptographic: not for what others see thousands of, nor for who takes part.
    """
    return np.random.Generator(np.random.Philox(key=int.from_bytes(self.key(purpose, *details)[:16], 'little')))

  def tensor_seed(self, purpose: str) -> np.ndarray:
    """Returns int32 `[2]` for TensorFlow's stateless random functions: nothing that has to stay secret."""
    return np.frombuffer(self.key(purpose)[:8], np.int32)

  def client_seeds(self, round_number: int, client_id: bytes) -> np.ndarray:
    """Returns int32 `[2, 2]`, two seeds like `tensor_seed`'s for what one client does in one round."""
    return np.frombuffer(self.key('client', round_number, client_id)[:16], np.int32).reshape(2, 2)

  def key(self, purpose: str, *details: int | bytes) -> bytes:
    """Returns 32 bytes for one purpose: without the secret, nobody can tell them from random ones (keyed BLAKE2b)."""
    words = [detail.hex() if isinstance(detail, bytes) else str(detail) for detail in details]
    return hashlib.blake2b('/'.join([purpose, *words]).encode(), key=self.secret, digest_size=_SECRET_BYTES).digest()

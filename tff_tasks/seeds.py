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

  def stream(self, purpose: str, *numbers: int) -> np.random.Generator:
    """Returns the random numbers for one purpose, for example `('cohort', round_number)`."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(self._digest(purpose, numbers)[:16], 'little')))

  def tensor_seed(self, purpose: str) -> np.ndarray:
    """Returns int32 `[2]` for TensorFlow's stateless random functions: nothing that has to stay secret."""
    return np.frombuffer(self._digest(purpose, ())[:8], np.int32)

  def client_seeds(self, round_number: int, client: int) -> np.ndarray:
    """Returns int32 `[2, 2]`, two seeds like `tensor_seed`'s for what one client does in one round."""
    return np.frombuffer(self._digest('client', (round_number, client))[:16], np.int32).reshape(2, 2)

  def noise_secret(self) -> np.ndarray:
    """Returns uint64 `[2]`, the 128 bits that the noise of all rounds is drawn from."""
    return np.frombuffer(self._digest('noise', ())[:16], np.uint64)

  def _digest(self, purpose: str, numbers: tuple[int, ...]) -> bytes:
    message = '/'.join([purpose, *map(str, numbers)]).encode()
    return hashlib.blake2b(message, key=self.secret, digest_size=32).digest()

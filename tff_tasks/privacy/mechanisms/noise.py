"""The noise of a round: whole numbers, distributed as a Gaussian with its whole tail, rounded to the nearest.

They are added to the sum of the clients' integers before anything is decoded. For an integer sum S and Gaussian noise
N, S + round(N) = round(S + N): a function of the Gaussian mechanism's output, so that its privacy holds as accounted.
Noise in floating point has no such guarantee: its lowest bits can tell what it was added to (Mironov 2012, "On
significance of the least significant bits for differential privacy").

Every number is a function of a key and of where it is used: the keystream of AES-256 in counter mode. Whoever does not
know the key cannot tell it from true random bits, however many models were released.
"""

from collections.abc import Iterator
import dataclasses
import itertools
import math

from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes
import mpmath
import numpy as np
from scipy import special

# Coordinates that are drawn at a time: what is computed on the way stays in the cache.
_CHUNK = 1 << 16
# A result this close to where rounding changes, in standard deviations times (1 + distance from 0), is worked out
# exactly, and so is a tail probability below _LEAST_TAIL * 2**-64.
_DOUBT = 2.0**-41
_LEAST_TAIL = 1 << 43
_MAX_STDDEV = 2.0**36
# Bits beyond those of the probability that mpmath computes a boundary with; it is right to a few of the last ones.
_GUARD_BITS = 96


@dataclasses.dataclass(frozen=True)
class RoundedGaussian:
  """Draws `round(stddev * Z)` for ideal standard Gaussians Z.

  A coordinate takes 64 random bits: a sign, and 63 bits j that place the tail probability P(Z > x) of its distance x
  from 0 in [j, j + 1) * 2**-64. The distance is computed in float64 by `scipy.special.ndtri`. Where j >= _LEAST_TAIL it
  is wrong by at most 1.26 * 2**-43 for the bits that follow j, because a relative change e of the probability moves x
  by e * P(Z > x) / density(x) <= 1.26 e, and by `ndtri`'s own error, documented as 7.2e-16 of x at most, hundreds of
  times less than what _DOUBT leaves for it. So wherever the scaled distance is further from a half-integer than _DOUBT
  allows, the rounded result is that of exact arithmetic. Everywhere else, some ten times in a million numbers, it is
  decided by exact comparison with the boundary's probability, with as many random bits as that takes.

  Attributes:
    key: 32 secret bytes.
    stddev: The standard deviation, in units of the grid; at most 2**36.
    size: How many numbers a round takes.

  Raises:
    ValueError: If the standard deviation is out of range.
  """

  key: bytes = dataclasses.field(repr=False)
  stddev: float
  size: int

  def __post_init__(self) -> None:
    check_stddev(self.stddev)

  def draw(self, round_number: int) -> np.ndarray:
    """Returns int64 `[size]`, the noise of a round: always the same for the same key and round."""
    noise, random = np.empty(self.size, np.int64), Words(self.key)
    for first, words in random.of_round(round_number, self.size):
      part = noise[first : first + len(words)]
      part[...], doubtful = _round_most(words, self.stddev)
      for index in doubtful.tolist():
        tail, sign = random.number(round_number, first + index)
        part[index] = sign * _round_exactly(tail, self.stddev)
    return noise


def check_stddev(stddev: float) -> None:
  """Checks that noise of a standard deviation can be drawn, in steps of the grid.

  Raises:
    ValueError: If it is out of range.
  """
  if not 0 < stddev <= _MAX_STDDEV:
    raise ValueError(
      f'Expected noise of 0 to {_MAX_STDDEV:.3g} steps of the grid, found {stddev}: ask for less '
      '(a lower --noise_multiplier or a higher --target_epsilon).'
    )


@dataclasses.dataclass(frozen=True)
class Words:
  """The random words of a key: 64 bits for each coordinate of each round, and more for those that need them.

  Attributes:
    key: 32 secret bytes.
  """

  key: bytes = dataclasses.field(repr=False)

  def of_round(self, round_number: int, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the words of a round, uint64, some at a time, with the index of the first."""
    # The counter of a round begins after its number and 8 zero bytes.
    counter = modes.CTR(round_number.to_bytes(8, 'big') + bytes(8))
    stream = ciphers.Cipher(algorithms.AES(self.key), counter).encryptor()
    for first in range(0, size, _CHUNK):
      yield first, np.frombuffer(stream.update(bytes(8 * min(_CHUNK, size - first))), '<u8')

  def number(self, round_number: int, index: int) -> tuple['Tail', int]:
    """Returns the tail probability of a coordinate of a round, with all its bits, and the sign, 1 or -1."""
    block = self._blocks().update(round_number.to_bytes(8, 'big') + (index // 2).to_bytes(8, 'big'))
    word = int.from_bytes(block[8 * (index % 2) :][:8], 'little')
    return Tail(word >> 1, 64, self._more(round_number, index)), -1 if word & 1 else 1

  def _more(self, round_number: int, index: int) -> Iterator[int]:
    """Yields the further random bits of a coordinate, 64 at a time, from counters that the first ones never reach."""
    blocks = self._blocks()
    for number in itertools.count():
      place = b'\x01' + index.to_bytes(5, 'big') + number.to_bytes(2, 'big')
      block = blocks.update(round_number.to_bytes(8, 'big') + place)
      yield from (int.from_bytes(block[:8], 'little'), int.from_bytes(block[8:], 'little'))

  def _blocks(self) -> ciphers.CipherContext:
    return ciphers.Cipher(algorithms.AES(self.key), modes.ECB()).encryptor()


def _round_most(words: np.ndarray, stddev: float) -> tuple[np.ndarray, np.ndarray]:
  """Returns the rounded noise of random words, int64, and the indices of the numbers that it may be wrong for."""
  tails = (words >> np.uint64(1)).view(np.int64)
  scaled = -stddev * special.ndtri(tails * 2.0**-64)
  # A tail of 0 gives infinity, and is among the doubtful.
  np.minimum(scaled, 2.0**52, out=scaled)
  levels = np.rint(scaled)
  from_boundary = 0.5 - np.abs(scaled - levels)
  doubtful = np.flatnonzero((from_boundary <= _DOUBT * (stddev + scaled)) | (tails < _LEAST_TAIL))
  signs = -(words & np.uint64(1)).view(np.int64)  # 0, or -1: all bits set.
  return (levels.astype(np.int64) ^ signs) - signs, doubtful


@dataclasses.dataclass
class Tail:
  """A tail probability that becomes known bit by bit.

  Attributes:
    number: With `bits`, says that it is in `[number, number + 1) * 2**-bits`.
    bits: As above.
    more_words: The bits that follow, 64 at a time.
  """

  number: int
  bits: int
  more_words: Iterator[int]

  def extend(self) -> None:
    """Takes 64 bits more."""
    self.number = self.number << 64 | next(self.more_words)
    self.bits += 64

  def is_beyond(self, half_levels: int, stddev: float) -> bool:
    """Returns whether the Gaussian of this tail is beyond `half_levels / 2`; takes as many bits as decide it."""
    while True:
      with mpmath.workprec(self.bits + _GUARD_BITS):
        boundary = mpmath.ldexp(mpmath.ncdf(-mpmath.mpf(half_levels) / (2 * mpmath.mpf(stddev))), self.bits)
        error = mpmath.ldexp(1, -_GUARD_BITS // 2)
        if boundary - error >= self.number + 1:
          return True
        if boundary + error <= self.number:
          return False
      self.extend()

  def scaled(self, bits: int) -> int:
    """Returns the Gaussian of this tail times `2**bits`, rounded to the nearest integer."""
    while self.bits < bits + 64 or self.number < _LEAST_TAIL:
      self.extend()
    with mpmath.workprec(self.bits + _GUARD_BITS):
      inside = 1 - mpmath.ldexp(2 * self.number + 1, -self.bits)
      near = int(mpmath.nint(mpmath.ldexp(mpmath.sqrt(2) * mpmath.erfinv(inside), bits)))
    return _correct(self, near, 2.0**bits)


def _round_exactly(tail: Tail, stddev: float) -> int:
  """Returns the whole number nearest to `stddev` times the distance that has this tail probability."""
  while tail.number < _LEAST_TAIL:
    tail.extend()
  return _correct(tail, round(-stddev * float(special.ndtri(math.ldexp(tail.number, -tail.bits)))), stddev)


def _correct(tail: Tail, level: int, stddev: float) -> int:
  """Returns the whole number nearest to `stddev` times the distance of this tail, from one that is near."""
  while tail.is_beyond(2 * level + 1, stddev):
    level += 1
  while level and not tail.is_beyond(2 * level - 1, stddev):
    level -= 1
  return level

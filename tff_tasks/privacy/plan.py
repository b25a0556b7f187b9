"""The privacy plan: one value yields the sampler, the clip, the noise and the accounting, so they cannot disagree.

Unit of privacy: one client, with all of its data. Neighbors: that data replaced by none. The released values are the
models of all rounds so far, and what the data set was made with if that was learned from the same clients.
"""

import dataclasses
import functools
import math

import dp_accounting

from contracts import guarantees
from tff_tasks import config
from tff_tasks.compression import base as compression_base
from tff_tasks.compression import registry as compressions
from tff_tasks.population.samplers import base
from tff_tasks.population.samplers import registry as samplers
from tff_tasks.privacy import accountant
from tff_tasks.privacy.mechanisms import base as mechanisms_base
from tff_tasks.privacy.mechanisms import registry as mechanisms

MAX_NOISE_MULTIPLIER = 1e3


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
  """What is promised, and everything that keeps the promise.

  Attributes:
    population: Number of ids of training clients, those without data included; taken as public.
    clients_per_round: Clients that a round asks its sampler for; what sums are divided by.
    sampling: The sampler: a name of `samplers.registry`, or `package.module:attribute`.
    clip_norm: L2 bound of a client's update, or None.
    quantization_bits: Bits of a coordinate of an update, for the compression `quantization`; 0 sends 32: floats, or
      integers of a fine grid under noise.
    noise_multiplier: Standard deviation of a draw of noise, over the norm bound after rounding. 0: not private.
    delta: The delta of (epsilon, delta), for all that is released.
    learned: What of both was spent before training, on what the data set was made with.
    weighting: 'uniform', all clients count the same, or 'examples', each by the examples that it trained on: without
      noise only.
    is_seeded: Whether the noise comes from a seed that somebody knows: nothing is promised then.
    sampling_options: The options of the sampler, each `name=value`.
    availability: Which clients can be invited when, in words; empty: all of them, always.
    capabilities: Which clients do how much work, in words; empty: all do the same.
    mechanism: What noise the rounds have: a name of `mechanisms.registry`, or `package.module:attribute`.
    mechanism_options: The options of the mechanism, each `name=value`.
    compression: How updates become integers: a name of `compression.registry`, or `package.module:attribute`.
    compression_options: The options of the compression, each `name=value`.

  Raises:
    ValueError: If the values do not make a plan whose accounting matches what runs.
  """

  population: int
  clients_per_round: int
  sampling: str = 'poisson'
  clip_norm: float | None = None
  quantization_bits: int = 8
  noise_multiplier: float = 0.0
  delta: float | None = None
  learned: guarantees.Cost = guarantees.NOTHING
  is_seeded: bool = False
  sampling_options: tuple[str, ...] = ()
  availability: str = ''
  weighting: str = 'uniform'
  capabilities: str = ''
  mechanism: str = 'gaussian'
  mechanism_options: tuple[str, ...] = ()
  compression: str = compressions.QUANTIZATION
  compression_options: tuple[str, ...] = ()

  def __post_init__(self) -> None:
    if self.population < 1:
      raise ValueError(
        'Expected training clients, found none: preprocess with smaller test_users_share or validation_users_share.'
      )
    self._check_cohorts()
    if self.weighting not in config.WEIGHTINGS:
      raise ValueError(f'Expected weighting to be {" or ".join(config.WEIGHTINGS)}, found {self.weighting!r}.')
    if self.weighting != 'uniform' and self.is_private:
      raise ValueError(
        'Expected --weighting=uniform with noise, found examples: one client could move a weighted mean by more than '
        'the clip allows; set it so, or --noise_multiplier=0 --target_epsilon=0.'
      )
    if self.clip_norm is None and (self.upload or self.noise_multiplier):
      raise ValueError('Expected a clip_norm, found none: compression and noise need a bound; set --clip_norm.')
    if self.clip_norm is not None and not 0 < self.clip_norm < math.inf:
      raise ValueError(f'Expected a finite clip_norm > 0, found {self.clip_norm}.')
    if not 0 <= self.noise_multiplier < MAX_NOISE_MULTIPLIER:
      raise ValueError(f'Expected 0 <= noise_multiplier < {MAX_NOISE_MULTIPLIER:g}, found {self.noise_multiplier}.')
    if self.is_private and (self.delta is None or not 0 < self.delta < 1 / self.population):
      raise ValueError(
        f'Expected 0 < delta < 1 / clients = {1 / self.population:.3g}, found {self.delta}: a larger one would allow '
        'to publish a client; set --delta.'
      )
    if self.training_delta is not None and self.training_delta <= 0:
      raise ValueError(
        f'Expected a delta above {self.learned.delta:.3g}, which the data set alone has spent, found {self.delta}: '
        'set a larger --delta, or preprocess with smaller deltas.'
      )
    is_quantized = self.upload and not self._is_own_compression
    if is_quantized and (codec := self.codec(1)) and codec.max_level * self.population >= 2**31:
      raise ValueError(
        f'Expected sums of quantized updates to fit 32 bits, found {self.quantization_bits} bits for '
        f'{self.population} clients: use fewer --quantization_bits.'
      )

  def _check_cohorts(self) -> None:
    most = self.sampler.most_clients(self.population)
    if not 1 <= self.clients_per_round <= most:
      if most < 1:
        raise ValueError(
          f'Expected --sampling_options with which --sampling={self.sampling} can ask for clients, found '
          f'{", ".join(self.sampling_options)} for {self.population} training clients: set a smaller separation.'
        )
      whom = 'all training clients' if most == self.population else f'all that --sampling={self.sampling} can ask for'
      raise ValueError(f'Expected 1 to {most} ({whom}) clients_per_round, found {self.clients_per_round}.')
    if self.is_private:
      if (unit := self.noise.unit) != mechanisms_base.CLIENT:
        raise ValueError(
          f'Expected a mechanism for the unit {mechanisms_base.CLIENT}, found {unit} for --mechanism={self.mechanism}: '
          'the bound is that of the update of a whole client.'
        )
      accountant.check(self.event(1))

  @property
  def is_private(self) -> bool:
    return self.noise_multiplier > 0

  @functools.cached_property
  def sampler(self) -> base.Sampler:
    """Who takes part in a round."""
    return samplers.build(self.sampling, self.sampling_options)

  @property
  def size(self) -> base.Size:
    return base.Size(self.population, self.clients_per_round)

  @property
  def sampling_in_words(self) -> str:
    """Says how a round gets its clients."""
    available = f', of those that are available ({self.availability})' if self.availability else ''
    return f'{self.sampler.describe(self.size)}{available}'

  @functools.cached_property
  def noise(self) -> mechanisms_base.Mechanism:
    """What noise the rounds have, if they have any."""
    return mechanisms.build(self.mechanism, self.mechanism_options)

  @property
  def bound(self) -> str:
    """Says which bound the cost of the rounds is; empty if it is exact."""
    return self.noise.bound(self._rounds(1))

  @functools.cached_property
  def upload(self) -> compression_base.Compression | None:
    """How updates are compressed; None if they are sent whole."""
    return compressions.build(self.compression, self.compression_options, self.quantization_bits)

  @property
  def upload_in_words(self) -> str:
    """Says what becomes of an update that noise is added to."""
    return self.upload.describe() if self.upload else 'rounded to a fine grid'

  @property
  def _is_own_compression(self) -> bool:
    return self.compression not in compressions.COMPRESSIONS

  def codec(self, dimension: int) -> compression_base.Encoding | None:
    """Returns how updates of that many coordinates become integers, or None if they stay floats: without noise only.

    It is built once, so that noise, ledger and graph have the same one, whatever a compression of the user's own does.

    Raises:
      ValueError: If a compression of the user's own cannot encode them, or sums of its integers do not fit 32 bits.
    """
    if dimension not in self._codecs:
      self._codecs[dimension] = self._build_codec(dimension)
    return self._codecs[dimension]

  @functools.cached_property
  def _codecs(self) -> dict[int, compression_base.Encoding | None]:
    """By the number of coordinates."""
    return {}

  def _build_codec(self, dimension: int) -> compression_base.Encoding | None:
    if self.clip_norm is None:
      return None
    if self.upload is None:
      return _fine_grid(dimension, self.clip_norm) if self.is_private else None
    encoding = self.upload.build(dimension, self.clip_norm)
    return _bounded(encoding, dimension, self) if self._is_own_compression else encoding

  def norm_bound(self, dimension: int) -> float | None:
    """Returns the largest L2 norm of what one client adds to the sum, after rounding; None if there is no limit.

    That is the sensitivity of the sum: neighboring data sets differ by what one client adds.
    """
    if self.weighting != 'uniform':  # A client adds its update times its examples.
      return None
    codec = self.codec(dimension)
    return codec.norm_bound if codec else self.clip_norm

  def noise_stddev(self, dimension: int) -> float:
    """Returns the standard deviation of the noise on each coordinate of the sum of a round."""
    return self.noise_multiplier * self.noise.relative_stddev * (self.norm_bound(dimension) or 0.0)

  def noise_levels(self, dimension: int) -> float:
    """Returns the standard deviation of a draw in steps of the grid, rounded up: never less than is accounted for."""
    codec = self.codec(dimension)
    return self.noise_multiplier * math.sqrt(codec.max_squared_levels) * (1 + 2.0**-50) if codec else 0.0

  def update_bytes(self, dimension: int) -> int:
    """Returns the bytes that one client sends up."""
    codec = self.codec(dimension)
    return codec.encoded_bytes if codec else 4 * dimension

  def event(self, rounds: int) -> dp_accounting.DpEvent:
    """Returns what the first `rounds` rounds that are drawn with one secret cost a client.

    Raises:
      ValueError: If mechanism and sampler do not know.
    """
    return self.noise.event(self.noise_multiplier, self._rounds(rounds))

  def _rounds(self, number: int) -> mechanisms_base.Rounds:
    return mechanisms_base.Rounds(number, self.sampler, self.size, is_everyone_available=not self.availability)

  @property
  def training_delta(self) -> float | None:
    """The part of `delta` that is left for training, or None without noise."""
    return self.delta - self.learned.delta if self.is_private and self.delta is not None else None


def _fine_grid(dimension: int, clip_norm: float) -> compression_base.Encoding:
  from tff_tasks.compression import fine_grid

  return fine_grid.FineGrid(dimension, clip_norm)


def _bounded(encoding: compression_base.Encoding, dimension: int, plan: PrivacyPlan) -> compression_base.Encoding:
  from tff_tasks.compression import bounded

  return bounded.Bounded(encoding, dimension, plan.population, plan.compression)

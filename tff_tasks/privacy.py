"""The privacy plan: one value yields the sampler, the clip, the noise and the accounting, so they cannot disagree.

Unit of privacy: one client, with all of its data. The released values are the models of all rounds so far, and what the
data set was made with if that was learned from the same clients.
"""

from collections.abc import Callable
import dataclasses
import functools
import math

import dp_accounting
from dp_accounting import pld
from dp_accounting import rdp

from tff_tasks import learned as learned_lib
from tff_tasks import quantization
from tff_tasks import settings

# Grid of the privacy loss at a noise multiplier of 1 and more: a finer one changes epsilon in the fifth digit. Losses
# grow as the square of 1 / noise, and so does the grid with them; it is rounded up, so epsilon is never too small.
_PLD_INTERVAL = 1e-3
MAX_NOISE_MULTIPLIER = 1e3


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
  """What is promised, and everything that keeps the promise.

  Attributes:
    population: Number of training clients, taken as public.
    clients_per_round: Expected (poisson) or exact (fixed) clients of a round; what sums are divided by.
    sampling: 'poisson', each client independently with probability `clients_per_round / population`, or 'fixed', that
      many clients without replacement.
    clip_norm: L2 bound of a client's update, or None.
    quantization_bits: Bits of a coordinate of an update; 0 sends float32.
    noise_multiplier: Standard deviation of the noise on the sum, over the norm bound after rounding. 0: not private.
    delta: The delta of (epsilon, delta), for all that is released.
    learned: What of both was spent before training, on what the data set was made with.

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
  learned: learned_lib.Cost = learned_lib.NOTHING

  def __post_init__(self) -> None:
    if self.sampling not in settings.SAMPLINGS:
      raise ValueError(f'Expected sampling to be {" or ".join(settings.SAMPLINGS)}, found {self.sampling!r}.')
    if self.population < 1:
      raise ValueError('Expected training clients, found none: hold fewer users out, or set fewer aside.')
    if not 1 <= self.clients_per_round <= self.population:
      raise ValueError(
          f'Expected 1 to {self.population} (all training clients) clients_per_round, found {self.clients_per_round}.'
      )
    if self.clip_norm is None and (self.quantization_bits or self.noise_multiplier):
      raise ValueError('Expected a clip_norm, found none: quantization and noise need a bound; set --clip_norm.')
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
          'set a larger --delta, or preprocess with smaller ones.'
      )
    if self.quantization_bits:
      codec = self.codec(1)
      if codec and codec.max_level * self.population >= 2**31:
        raise ValueError(
            f'Expected sums of quantized updates to fit 32 bits, found {self.quantization_bits} bits for '
            f'{self.population} clients: use fewer --quantization_bits.'
        )

  @property
  def is_private(self) -> bool:
    return self.noise_multiplier > 0

  @property
  def sampling_probability(self) -> float:
    return self.clients_per_round / self.population

  def codec(self, dimension: int) -> quantization.Codec | None:
    """Returns the codec of updates of that many coordinates, or None if they are not quantized."""
    if not self.quantization_bits or self.clip_norm is None:
      return None
    return quantization.Codec(dimension, self.clip_norm, self.quantization_bits)

  def norm_bound(self, dimension: int) -> float | None:
    """Returns the largest L2 norm of what one client adds to the sum, after rounding; None if there is no limit."""
    codec = self.codec(dimension)
    return codec.norm_bound if codec else self.clip_norm

  def sensitivity(self, dimension: int) -> float | None:
    """Returns by how much the sum differs between neighbours, in L2 norm; None if there is no limit."""
    bound = self.norm_bound(dimension)
    return bound if bound is None or self.sampling == 'poisson' else 2 * bound

  def noise_stddev(self, dimension: int) -> float:
    """Returns the standard deviation of the noise on each coordinate of the sum."""
    return self.noise_multiplier * (self.norm_bound(dimension) or 0.0)

  def update_bytes(self, dimension: int) -> int:
    """Returns the bytes that one client sends up."""
    codec = self.codec(dimension)
    return codec.encoded_bytes if codec else 4 * dimension

  @property
  def adjacency(self) -> str:
    """What two neighbouring sets of clients are."""
    if self.sampling == 'poisson':
      return 'one client added or removed'
    return 'one client replaced by another'

  @property
  def event(self) -> dp_accounting.DpEvent:
    """What one round releases.

    Replacing a client moves the sum by up to twice the norm bound, so that in units of that sensitivity the noise is
    half as large (Wang, Balle, Kasiviswanathan 2019, arXiv 1808.00087, theorem 27).
    """
    if self.sampling == 'poisson':
      noise: dp_accounting.DpEvent = dp_accounting.GaussianDpEvent(self.noise_multiplier)
      return dp_accounting.PoissonSampledDpEvent(self.sampling_probability, noise)
    noise = dp_accounting.GaussianDpEvent(self.noise_multiplier / 2)
    return dp_accounting.SampledWithoutReplacementDpEvent(self.population, self.clients_per_round, noise)

  @property
  def training_delta(self) -> float | None:
    """The part of `delta` that is left for training, or None if there is no guarantee."""
    return self.delta - self.learned.delta if self.is_private and self.delta is not None else None

  def epsilon(self, rounds: int) -> float | None:
    """Returns the epsilon at `delta` of all that is released in `rounds` rounds, or None if there is no guarantee.

    By basic composition: what the data set has cost, and the models.
    """
    training = self.training_epsilon(rounds)
    return None if training is None else self.learned.epsilon + training

  def training_epsilon(self, rounds: int) -> float | None:
    """Returns the epsilon at `training_delta` of the models alone, or None if there is no guarantee."""
    if not self.is_private:
      return None
    return _training_epsilon(self, rounds) if rounds else 0.0

  def calibrated(self, target_epsilon: float, rounds: int) -> 'PrivacyPlan':
    """Returns this plan with the smallest noise multiplier (to 1e-3) that keeps `rounds` rounds within the epsilon.

    Raises:
      ValueError: If no noise multiplier does.
    """
    if target_epsilon <= self.learned.epsilon:
      raise ValueError(
          f'Expected a target_epsilon above {self.learned.epsilon:g}, which the data set alone has spent, found '
          f'{target_epsilon:g}: ask for a larger one, or preprocess with a smaller one.'
      )
    loudest = int(MAX_NOISE_MULTIPLIER * 1000) - 1
    spent = functools.cache(lambda thousandths: self._with_noise(thousandths).epsilon(rounds) or 0.0)
    loud = 1000
    while spent(loud) > target_epsilon:
      if loud == loudest:
        raise ValueError(
            f'Expected a target_epsilon that some noise reaches in {rounds} rounds, found {target_epsilon}: ask for '
            'fewer rounds or a larger epsilon.'
        )
      loud = min(2 * loud, loudest)
    quiet = loud // 2
    while quiet and spent(quiet) <= target_epsilon:
      loud, quiet = quiet, quiet // 2
    return self._with_noise(_first_within(spent, target_epsilon, quiet, loud))

  def _with_noise(self, thousandths: int) -> 'PrivacyPlan':
    return dataclasses.replace(self, noise_multiplier=thousandths / 1000)


def _first_within(spent: Callable[[int], float], limit: float, above: int, within: int) -> int:
  """Returns the first number whose value, which falls as numbers grow, is within a limit.

  Args:
    spent: The value of a number, about a power of it: followed along that line, a few values find the place that
      bisection takes ten for.
    limit: The limit.
    above: A number whose value is above it.
    within: A number whose value is within it.
  """
  step = 0
  while within - above > 1:
    step += 1
    share = 0.5
    if step % 3:  # The others make sure that it ends soon even if the line misleads.
      share = math.log(spent(above) / limit) / math.log(spent(above) / max(spent(within), limit / 1000))
      share = share if math.isfinite(share) else 0.5  # Nothing follows from an infinite value.
    number = min(max(math.ceil(above * (within / above) ** share), above + 1), within - 1)
    if spent(number) <= limit:
      within = number
    else:
      above = number
  return within


@functools.lru_cache(maxsize=4096)  # The last round is asked for again and again.
def _training_epsilon(plan: PrivacyPlan, rounds: int) -> float:
  if plan.sampling == 'poisson':
    return float(_losses_of_round(plan).self_compose(rounds).get_epsilon_for_delta(plan.training_delta))
  accountant = _accountant_of_round(plan)
  epsilon, _ = rdp.compute_epsilon(accountant.orders, rounds * accountant.rdp, plan.training_delta)
  return float(epsilon)


# What a round costs takes far longer to work out than to compose with itself, which accountants do in one.
@functools.lru_cache(maxsize=8)
def _losses_of_round(plan: PrivacyPlan) -> pld.privacy_loss_distribution.PrivacyLossDistribution:
  """Returns the distribution of the privacy loss of one round with Poisson sampling."""
  return pld.privacy_loss_distribution.from_gaussian_mechanism(
      plan.event.event.noise_multiplier,
      value_discretization_interval=_PLD_INTERVAL * max(1.0, plan.noise_multiplier**-2),
      sampling_prob=plan.event.sampling_probability,
  )


@functools.lru_cache(maxsize=8)
def _accountant_of_round(plan: PrivacyPlan) -> rdp.RdpAccountant:
  """Returns the accountant of one round with cohorts of a fixed size, whose Renyi divergences add up over rounds."""
  accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
  accountant.compose(plan.event)
  return accountant

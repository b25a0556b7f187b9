"""Who takes part in each round, from the secret, the round and the clients' ids, as the privacy plan's sampler says.

A client's coin is AES-256 of its id, under a key for the round: coins are independent for whoever does not know the
secret, and no client's coin depends on who else there is.
"""

import functools

from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes
import numpy as np

from tff_tasks.population import availability as availability_lib
from tff_tasks.population import seeds
from tff_tasks.population.samplers import base
from tff_tasks.privacy import plan as plan_lib


class Cohorts:
  """The cohorts of the rounds that one secret draws.

  Args:
    plan: Has the sampler.
    seed: The secret.
    client_ids: uint8 `[population, 16]`, all different: the training clients.
    first_round: The first round that the secret draws.
    availability: Who can be invited when; None: everyone, always.

  Raises:
    ValueError: If there are not as many ids as the plan has clients, or the plan knows of another availability.
  """

  def __init__(
    self,
    plan: plan_lib.PrivacyPlan,
    seed: seeds.Seed,
    client_ids: np.ndarray,
    first_round: int = 1,
    availability: availability_lib.Availability | None = None,
  ) -> None:
    name = availability.name if availability else ''
    if plan.availability != name:
      raise ValueError(f'Expected the availability of the plan, {plan.availability!r}, found {name!r}: give both one.')
    if client_ids.shape != (plan.population, 16):
      raise ValueError(f'Expected 16 bytes for each of {plan.population} clients, found shape {client_ids.shape}.')
    self._plan, self._seed, self._ids, self._first_round = plan, seed, client_ids, first_round
    self._availability = availability
    # A sampler may ask for the same order in many rounds.
    self._order = functools.lru_cache(maxsize=1)(self._sort)
    self._recorded = 0  # Steps whose invitations are in the arrays below.
    self._times, self._last_step = np.zeros(plan.population, np.int64), np.full(plan.population, -1)

  def draw(self, round_number: int) -> np.ndarray:
    """Returns the cohort of a round: sorted indices of clients, int64, possibly none.

    Raises:
      ValueError: If the sampler returns something else.
    """
    return self._draw(round_number - self._first_round)

  def _draw(self, step: int) -> np.ndarray:
    round_number = self._first_round + step
    available = self._availability.draw(round_number, self._coins) if self._availability else None
    invitations = functools.partial(self._invitations, step)
    draw = base.Draw(round_number, step, self._plan.size, self._coins, self._order, invitations, available)
    cohort = self._check(np.asarray(self._plan.sampler.cohort(draw)))
    if available is not None:
      cohort = cohort[available[cohort]]
    if step == self._recorded:
      self._record(cohort)
    return cohort

  def _check(self, cohort: np.ndarray) -> np.ndarray:
    if cohort.ndim != 1 or (cohort.size and not np.issubdtype(cohort.dtype, np.integer)):
      raise ValueError(
        f'Expected a list of indices of clients from {self._plan.sampling}, found {cohort.dtype} of shape '
        f'{cohort.shape}: correct its method cohort.'
      )
    cohort = np.sort(cohort.astype(np.int64))
    if cohort.size and (cohort[0] < 0 or cohort[-1] >= self._plan.population or (np.diff(cohort) == 0).any()):
      raise ValueError(
        f'Expected different indices of {self._plan.population} clients from {self._plan.sampling}, found others or '
        'one twice: correct its method cohort.'
      )
    return cohort

  def _invitations(self, step: int) -> base.Invitations:
    """Returns who was invited before a step, drawing again what was not drawn in turn."""
    if step < self._recorded:
      self._recorded = 0
      self._times[:], self._last_step[:] = 0, -1
    while self._recorded < step:
      self._draw(self._recorded)
    return base.Invitations(_read_only(self._times), _read_only(self._last_step))

  def _record(self, cohort: np.ndarray) -> None:
    self._times[cohort] += 1
    self._last_step[cohort] = self._recorded
    self._recorded += 1

  def _coins(self, purpose: str, number: int) -> np.ndarray:
    """Returns uint64 `[clients]`: half of a pseudorandom block for each id."""
    key = self._seed.key(purpose, number)
    blocks = ciphers.Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(self._ids.tobytes())
    return np.frombuffer(blocks, '<u8')[::2]

  def _sort(self, purpose: str, number: int) -> np.ndarray:
    return _read_only(np.argsort(self._coins(purpose, number), kind='stable'))


def _read_only(array: np.ndarray) -> np.ndarray:
  view = array.view()
  view.setflags(write=False)
  return view

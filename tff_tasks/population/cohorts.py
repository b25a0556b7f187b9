"""Who takes part in a round, from the secret, the round and the client's id, the way the privacy plan accounts for.

A client's coin is AES-256 of its id, under a key for the round: coins are independent for whoever does not know the
secret, and no client's coin depends on who else there is.
"""

from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes
import numpy as np

from tff_tasks.population import seeds
from tff_tasks.privacy import plan as plan_lib


def draw_cohort(plan: plan_lib.PrivacyPlan, seed: seeds.Seed, round_number: int, client_ids: np.ndarray) -> np.ndarray:
  """Returns the cohort of a round: sorted indices of clients, int64, possibly none under Poisson sampling.

  Args:
    plan: How to sample.
    seed: The seed of the run.
    round_number: The round.
    client_ids: uint8 `[population, 16]`, all different: the training clients.

  Raises:
    ValueError: If there are not as many ids as the plan has clients.
  """
  if client_ids.shape != (plan.population, 16):
    raise ValueError(f'Expected 16 bytes for each of {plan.population} clients, found shape {client_ids.shape}.')
  coins = _coins(seed.key('cohort', round_number), client_ids)
  if plan.sampling == 'poisson':
    # Rounded down, so that nobody takes part more often than accounted for; of 2**64 coins those below are taken.
    threshold = int(plan.sampling_probability * 2.0**64)
    return np.flatnonzero(coins <= np.uint64(threshold - 1)) if threshold else np.empty(0, np.int64)
  return np.sort(np.argsort(coins, kind='stable')[: plan.clients_per_round])


def _coins(key: bytes, client_ids: np.ndarray) -> np.ndarray:
  """Returns uint64 `[clients]`: half of a pseudorandom block for each id."""
  blocks = ciphers.Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(client_ids.tobytes())
  return np.frombuffer(blocks, '<u8')[::2]

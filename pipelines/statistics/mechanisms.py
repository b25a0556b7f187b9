"""The noise that pays for what is learned, and how much of it a promise takes.

The noise comes from Google's differential privacy library (python-dp): drawn from a cryptographic generator, and
rounded to a grid so coarse that the last bits of a floating-point number give nothing away (see "Secure noise
generation" among that project's documents).
"""

import math
import statistics
from typing import NamedTuple

import numpy as np

from contracts import guarantees


class Selection(NamedTuple):
  """What decides which words are published: those whose count, with the noise, is above the threshold.

  Attributes:
    stddev: Of the Gaussian noise on each count.
    threshold: What a noisy count must exceed.
  """

  stddev: float
  threshold: float


def check_promise(epsilon: float, delta: float) -> None:
  """Raises a ValueError if no Gaussian noise gives (epsilon, delta)-privacy, or any does."""
  largest = guarantees.LARGEST_EPSILON
  if not 0 < epsilon <= largest:
    raise ValueError(f'Expected 0 < epsilon <= {largest:g}, found {epsilon:g}: say what learning may cost.')
  if not 0 < delta < 1:
    raise ValueError(f'Expected 0 < delta < 1, found {delta:g}: say what learning may cost; below 1 / users.')


def add_noise(values: np.ndarray, stddev: float) -> np.ndarray:
  """Returns float64 `values` with Gaussian noise, drawn anew for each."""
  # Here, since programs import this module long before there is anything to add noise to.
  from pydp.algorithms import numerical_mechanisms

  mechanism = numerical_mechanisms.GaussianMechanism.create_from_standard_deviation(stddev)
  return np.array([mechanism.add_noise(value) for value in values.astype(np.float64).tolist()], np.float64)


def calibrate_gaussian(epsilon: float, delta: float, sensitivity: float) -> float:
  """Returns the smallest standard deviation that makes a sum (epsilon, delta)-private.

  Exact, no tail bound: Balle and Wang 2018 (arXiv 1805.06530), theorem 8.

  Args:
    epsilon: See `check_promise`.
    delta: Likewise.
    sensitivity: The L2 norm of what one client adds to the sum.
  """
  from dp_accounting.pld import common
  from dp_accounting.pld import privacy_loss_mechanism

  promise = common.DifferentialPrivacyParameters(epsilon, delta)
  loss = privacy_loss_mechanism.GaussianPrivacyLoss.from_privacy_guarantee(promise, sensitivity=sensitivity)
  return float(loss.standard_deviation)


def calibrate_selection(epsilon: float, delta: float, per_client: int) -> Selection:
  """Returns the noise and the threshold that publish words and their noisy counts with (epsilon, delta)-privacy.

  Neighbors differ by one client, who adds 1 to the counts of at most `k = per_client` words. Say that `t` of these
  words have no other voter. Unless one of the `t` is published, which happens with a probability of at most
  `p(t) = 1 - Phi((threshold - 1) / stddev)^t`, both neighbors publish from the same words, and what they publish
  comes from a Gaussian mechanism of sensitivity `sqrt(k - t)`, whose delta at `epsilon` is `g(k - t)`. So
  `max over t of g(k - t) + p(t)` is a delta that holds in both directions. (One direction: P[with] <= p + P[with, none
  of the t] <= p + exp(epsilon) P[without] + g. The other: with q the chance of the event among the noisy counts of the
  common words, P[without] <= exp(epsilon) q + g and P[with] >= (1 - p) q, so that P[without] - exp(epsilon) P[with] is
  at most min(1, exp(epsilon) q + g) - (1 - p) exp(epsilon) q <= p + g.)

  All of delta buys the noise for `t = 0`, where no word gives a client away by being there; what `g(k - t)` leaves of
  it then decides the threshold. Splitting delta in halves, as usual, would take a threshold 4 to 7% higher. Wilkins,
  Kifer, Zhang and Karrer 2024 ("Exact privacy analysis of the Gaussian sparse histogram mechanism", Journal of Privacy
  and Confidentiality 14 (1)) analyse this mechanism to the last digit, which is a hair below p + g.

  Args:
    epsilon: See `check_promise`.
    delta: Likewise.
    per_client: The most words of one client.
  """
  stddev = calibrate_gaussian(epsilon, delta, math.sqrt(per_client))
  left = (delta - gaussian_delta(epsilon, math.sqrt(per_client - own) / stddev) for own in range(1, per_client + 1))
  tail = min(-math.expm1(math.log1p(-share) / own) for own, share in enumerate(left, start=1))
  return Selection(stddev, 1 - stddev * statistics.NormalDist().inv_cdf(tail))


def gaussian_delta(epsilon: float, ratio: float) -> float:
  """Returns the delta at `epsilon` of Gaussian noise on a sum, by the theorem of `calibrate_gaussian`.

  Args:
    epsilon: See `check_promise`.
    ratio: The sensitivity over the standard deviation.
  """
  if not ratio:
    return 0.0
  return _tail(epsilon / ratio - ratio / 2) - math.exp(epsilon) * _tail(epsilon / ratio + ratio / 2)


def _tail(value: float) -> float:
  """Returns the chance of a standard normal number above `value`, exact where it is tiny."""
  return math.erfc(value / math.sqrt(2)) / 2

"""What an attacker may try who sees a release, and knows everything but whether one client took part.

Each attack is given what is left of the release in units of the noise's deviation, float64, once the sum without the
client and once the sum with it was subtracted: one of them is the noise. It returns whether the client took part.
"""

import numpy as np

# TensorFlow's normal numbers come in pairs whose angle is a multiple of this part of a turn.
_ANGLES = 2**23
# Doubles with this many bits after the point are what float32 noise leaves where others have more.
_FRACTION = 2**12


def by_grid(without: np.ndarray, with_client: np.ndarray) -> bool:
  """Looks for the grid of angles on which noise in floating point lies, in pairs of neighbors."""

  def on_grid(noise: np.ndarray) -> float:
    noise = noise[: len(noise) // 2 * 2]
    turns = np.arctan2(noise[0::2], noise[1::2]) / (2 * np.pi)
    return float(np.mean(np.cos(2 * np.pi * turns * _ANGLES)))

  return on_grid(with_client) > on_grid(without)


def by_fraction(without: np.ndarray, with_client: np.ndarray) -> bool:
  """Looks for which of the two lies nearer to a grid of short fractions."""
  distances = [np.mean(np.abs(np.remainder(noise * _FRACTION + 0.5, 1) - 0.5)) for noise in (without, with_client)]
  return bool(distances[1] < distances[0])


def by_likelihood(without: np.ndarray, with_client: np.ndarray) -> bool:
  """Takes the one that is more likely as Gaussian noise: the best guess if the noise is that."""
  return bool(np.sum(with_client**2) < np.sum(without**2))

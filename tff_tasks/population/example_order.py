"""The order in which a client sees its examples in an epoch, without TensorFlow: what a device draws for itself.

It is that of `local_sgd.LocalSgd`: random numbers of TensorFlow's Philox (Salmon et al. 2011, Parallel random numbers:
as easy as 1, 2, 3) as keys to sort by.
"""

import numpy as np

_ROUNDS = 10
_MULTIPLIERS = np.array([0xD2511F53, 0xCD9E8D57], np.uint64)
_STEPS = np.array([0x9E3779B9, 0xBB67AE85], np.uint64)
# What TensorFlow mixes seeds with.
_KEY_OF_SEEDS = np.array([0x3EC8F720, 0x02461E29], np.uint64)
_WORD = np.uint64(0xFFFFFFFF)
_BITS = np.uint64(32)


def draw(seed: np.ndarray, epoch: int, num_examples: int) -> np.ndarray:
  """Returns the indices of a client's examples in the order of an epoch, int64 `[num_examples]`.

  Args:
    seed: int32 `[2]`, the first of `ClientDataset.seeds`.
    epoch: From 0.
    num_examples: How many there are.
  """
  folded = np.array([_draw_words(seed, 1)[0].astype(np.int32), epoch], np.int32)
  keys = _draw_words(folded, num_examples) >> np.uint32(1)
  # Of equal keys, the first example comes first.
  return np.argsort(-keys.astype(np.int64), kind='stable')


def _draw_words(seed: np.ndarray, count: int) -> np.ndarray:
  """Returns the first of TensorFlow's stateless random words of a seed, uint32 `[count]`."""
  low, high = seed.astype(np.int64).view(np.uint64)
  words = np.array([[low & _WORD, low >> _BITS, high & _WORD, high >> _BITS]])
  mixed = _philox(words, _KEY_OF_SEEDS)[0]
  blocks = np.zeros((-(-count // 4), 4), np.uint64)
  blocks[:, 0] = np.arange(len(blocks))
  blocks[:, 2:] = mixed[2:]
  return _philox(blocks, mixed[:2]).astype(np.uint32).reshape(-1)[:count]


def _philox(counters: np.ndarray, key: np.ndarray) -> np.ndarray:
  """Returns the random words of counters: both uint64 `[n, 4]`, each a word of 32 bits."""
  for _ in range(_ROUNDS):
    (left, right), (first, second) = counters[:, [0, 2]].T * _MULTIPLIERS[:, np.newaxis], key
    counters = np.stack(
      [right >> _BITS ^ counters[:, 1] ^ first, right & _WORD, left >> _BITS ^ counters[:, 3] ^ second, left & _WORD],
      axis=1,
    )
    key = key + _STEPS & _WORD
  return counters

"""Tests that noise is a rounded Gaussian to the last bit: against exact arithmetic, in its tail, and by statistics."""

from collections.abc import Iterator
import itertools
import math
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
from cryptography.hazmat.primitives import ciphers
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers import modes
import mpmath
import numpy as np
import pytest
from scipy import special

from tff_tasks.privacy.mechanisms import noise

_KEY = bytes(range(32))


def _words(key: bytes, round_number: int, count: int) -> list[int]:
  """Returns the random words of a round, from the documented place in the keystream."""
  stream = ciphers.Cipher(algorithms.AES(key), modes.CTR(round_number.to_bytes(8, 'big') + bytes(8))).encryptor()
  return np.frombuffer(stream.update(bytes(8 * count)), '<u8').tolist()


def _exact(tail: int, bits: int, stddev: float) -> int:
  """Returns the rounded noise of a tail probability by inverting the distribution with hundreds of digits."""
  with mpmath.workprec(3 * bits + 100):
    probability = mpmath.ldexp(2 * tail + 1, -bits - 1)
    return int(mpmath.nint(stddev * mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * probability)))


def _tail_bits(random: np.random.Generator, leading: int, words: int) -> tuple[int, int, Iterator[int]]:
  """Returns a long tail probability, its leading bits, and the words that follow these."""
  following = [int(word) for word in random.integers(0, 2**64, words, np.uint64)]
  number = leading
  for word in following:
    number = number << 64 | word
  return number, leading, iter(following)


class RoundedGaussianTest(parameterized.TestCase):
  @parameterized.parameters(0.05, 0.4, 1.0, 37.5, 1e6, 2.0**24)
  def test_is_the_rounded_gaussian_of_its_words_bit_by_bit(self, stddev: float) -> None:
    drawn = noise.RoundedGaussian(_KEY, stddev, 400).draw(7).tolist()
    for word, level in zip(_words(_KEY, 7, 400), drawn, strict=True):
      self.assertEqual(level, (-1) ** (word & 1) * _exact(word >> 1, 64, stddev))

  @parameterized.product(doubt=(2.0**-41, 1.0), least_tail=(1 << 43, 1 << 61, 1 << 63), stddev=(0.4, 1000.0))
  def test_what_is_decided_exactly_is_what_is_decided_fast(self, doubt: float, least_tail: int, stddev: float) -> None:
    expected = noise.RoundedGaussian(_KEY, stddev, 300).draw(1)
    with mock.patch.multiple(noise, _DOUBT=doubt, _LEAST_TAIL=least_tail):
      np.testing.assert_array_equal(noise.RoundedGaussian(_KEY, stddev, 300).draw(1), expected)

  def test_what_is_decided_exactly_goes_where_it_belongs(self) -> None:
    """With its sign, and from the words of its own coordinate."""
    size, found = noise._CHUNK + 3, []

    def round_exactly(tail: noise.Tail, stddev: float) -> int:
      del stddev
      found.append((tail.number, tail.bits, next(tail.more_words)))
      return 10**9 + len(found)

    with (
      mock.patch.object(noise, '_LEAST_TAIL', 1 << 50),  # One in 8,192.
      mock.patch.object(noise, '_round_exactly', round_exactly),
    ):
      drawn = noise.RoundedGaussian(_KEY, 1.0, size).draw(2)
    words = _words(_KEY, 2, size)
    few = [index for index, word in enumerate(words) if word >> 1 < 1 << 50]
    self.assertNotEmpty(few)
    for number, index in enumerate(few):
      self.assertEqual(drawn[index], (-1) ** (words[index] & 1) * (10**9 + number + 1))
      self.assertEqual(found[number], (words[index] >> 1, 64, next(noise.Words(_KEY).number(2, index)[0].more_words)))

  @parameterized.product(leading_bits=(3, 20, 64), stddev=(0.3, 5.0, 1e6, 1e10))
  def test_takes_more_bits_until_it_is_decided(self, leading_bits: int, stddev: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
      leading = int(random.integers(0, 2 ** (leading_bits - 1), dtype=np.uint64))
      number, leading, following = _tail_bits(random, leading, 5)
      level = noise._round_exactly(noise.Tail(leading, leading_bits, following), stddev)
      self.assertEqual(level, _exact(number, leading_bits + 5 * 64, stddev))

  @parameterized.parameters(0, 1, 2, 1000, (1 << 43) - 1)
  def test_the_tail_goes_on_where_63_bits_end(self, tail: int) -> None:
    """Tails of less than 2**-60 have their Gaussian: beyond 9 deviations, which no float32 generator reaches."""
    words = np.array([2 * tail, 2 * tail + 1], np.uint64)
    _, doubtful = noise._round_most(words, 1000.0)
    self.assertEqual(doubtful.tolist(), [0, 1])
    number, leading, following = _tail_bits(np.random.default_rng(tail), tail, 5)
    level = noise._round_exactly(noise.Tail(leading, 64, following), 1000.0)
    self.assertEqual(level, _exact(number, 64 + 5 * 64, 1000.0))
    self.assertGreater(level, 4500)

  @parameterized.parameters(1.0, 2.0**20)
  def test_a_number_at_a_boundary_is_doubted(self, stddev: float) -> None:
    """Words on both sides of where rounding changes: as they are computed they might be on either."""
    for level in (0, 1, 2):
      with mpmath.workprec(200):
        boundary = int(mpmath.floor(mpmath.ldexp(mpmath.ncdf(-(level + mpmath.mpf('0.5')) / stddev), 64)))
      words = np.array([2 * (boundary + delta) for delta in (-1, 0, 1)], np.uint64)
      self.assertEqual(noise._round_most(words, stddev)[1].tolist(), [0, 1, 2])
      for tail, expected in ((boundary - 1, level + 1), (boundary + 1, level)):
        self.assertEqual(noise._round_exactly(noise.Tail(tail, 64, itertools.repeat(0)), stddev), expected)

  def test_the_quantile_in_float64_is_far_better_than_it_must_be(self) -> None:
    """A hundredth of what the proof leaves for it, from the middle to where exact arithmetic takes over."""
    random = np.random.default_rng(0)
    tails = np.concatenate([2.0 ** -random.uniform(1, 21, 500), 0.5 - 2.0 ** -random.uniform(2, 53, 100)])
    for tail, found in zip(tails.tolist(), (-special.ndtri(tails)).tolist(), strict=True):
      with mpmath.workprec(200):
        exact = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(tail))
        self.assertLess(abs(found - exact), (1 - 1.26 / 4) * noise._DOUBT * (1 + found) / 100)

  @pytest.mark.slow
  def test_a_hundred_million_draws_reach_the_tail(self) -> None:
    """Fails by chance less than once in 1,000 times for another key, most of that for pairs: 8.8 are expected."""
    stddev, size, rounds = 4096.0, 1 << 20, 96
    source = noise.RoundedGaussian(_KEY, stddev, size)
    limits = np.array([18_432, 20_480, 21_709])  # 4.5, 5.0 and 5.3 standard deviations.
    beyond, far_pairs = np.zeros(3, int), 0
    for number in range(rounds):
      drawn = source.draw(number)
      large = np.flatnonzero(np.abs(drawn) > 4.03 * stddev)  # One of a pair that is far out.
      beyond += [np.count_nonzero(np.abs(drawn[large]) >= limit) for limit in limits]
      for step in (-1, 1):
        squares = drawn[large].astype(float) ** 2 + drawn[np.clip(large + step, 0, size - 1)].astype(float) ** 2
        is_first = np.abs(drawn[large]) > np.abs(drawn[np.clip(large + step, 0, size - 1)])
        far_pairs += np.count_nonzero((squares > (5.7 * stddev) ** 2) & is_first)
    expected = 2 * special.ndtr(-(limits - 0.5) / stddev) * size * rounds
    self.assertLess(np.abs((beyond - expected) / np.sqrt(expected)).max(), 5)
    self.assertGreater(beyond[-1], 0)
    # The radius of a pair of TensorFlow's normal numbers ends at 5.6777.
    self.assertBetween(far_pairs, 1, 30)

  @parameterized.parameters(0.4, 1.7, 30.0)
  def test_levels_are_as_frequent_as_they_should_be(self, stddev: float) -> None:
    """Fails by chance less than once in a million times for another key: some 60 counts, six deviations."""
    count = 1_000_000
    drawn = noise.RoundedGaussian(_KEY, stddev, count).draw(1)
    for level in range(-30, 31):
      share = special.ndtr((level + 0.5) / stddev) - special.ndtr((level - 0.5) / stddev)
      if share * count > 30:
        deviation = math.sqrt(share * (1 - share) * count)
        self.assertLess(abs(np.count_nonzero(drawn == level) - share * count), 6 * deviation, level)

  def test_has_the_standard_deviation_asked_for(self) -> None:
    """Fails by chance once in 500 million times for another key: six standard deviations."""
    count = 1_000_000
    drawn = noise.RoundedGaussian(_KEY, 1e5, count).draw(1)
    self.assertEqual(drawn.dtype, np.int64)
    self.assertAlmostEqual(np.std(drawn) / 1e5, 1.0, delta=6 / math.sqrt(2 * count))
    self.assertAlmostEqual(np.mean(drawn) / 1e5, 0.0, delta=6 / math.sqrt(count))

  def test_a_round_has_the_same_noise_again_and_rounds_share_none(self) -> None:
    """Fails by chance once in 100 million times for another key: six deviations, six pairs."""
    source = noise.RoundedGaussian(_KEY, 1e9, 100_000)
    draws = [source.draw(number) for number in (0, 1, 2, 2**40)]
    np.testing.assert_array_equal(noise.RoundedGaussian(bytes(_KEY), 1e9, 100_000).draw(1), draws[1])
    np.testing.assert_allclose(np.corrcoef(draws), np.eye(4), atol=6 / math.sqrt(100_000))
    # Nor does a number of one turn up elsewhere in another, but by chance: of 10**10 pairs some 4.
    self.assertLess(len(np.intersect1d(draws[0], draws[1])), 30)

  def test_a_draw_does_not_depend_on_how_many_follow(self) -> None:
    whole = noise.RoundedGaussian(_KEY, 1e6, 2 * noise._CHUNK + 77).draw(5)
    np.testing.assert_array_equal(noise.RoundedGaussian(_KEY, 1e6, 1000).draw(5), whole[:1000])
    self.assertFalse(np.array_equal(whole[:1000], whole[noise._CHUNK : noise._CHUNK + 1000]))

  def test_every_bit_of_the_key_counts(self) -> None:
    expected = noise.RoundedGaussian(_KEY, 1e6, 8).draw(1)
    for bit in (0, 7, 100, 255):
      other = bytearray(_KEY)
      other[bit // 8] ^= 1 << bit % 8
      self.assertFalse(np.isin(noise.RoundedGaussian(bytes(other), 1e6, 8).draw(1), expected).any())

  def test_more_words_of_a_number_are_used_for_nothing_else(self) -> None:
    words = [*_words(_KEY, 3, 10_000)]
    for round_number, index in ((3, 0), (3, 1), (3, 256), (4, 0)):
      words += itertools.islice(noise.Words(_KEY).number(round_number, index)[0].more_words, 9)
    self.assertLen(set(words), len(words))

  def test_is_not_printed(self) -> None:
    self.assertNotIn(repr(_KEY)[2:-1], repr(noise.RoundedGaussian(_KEY, 1.0, 1)))

  @parameterized.parameters(0.0, -1.0, math.nan, math.inf, 2.0**36 + 1)
  def test_refuses_what_it_cannot_draw(self, stddev: float) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected noise of .* found .*: ask for less .a lower --noise_multiplier'):
      noise.RoundedGaussian(_KEY, stddev, 1)
    noise.RoundedGaussian(_KEY, 2.0**36, 1)


if __name__ == '__main__':
  absltest.main()

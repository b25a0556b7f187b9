from collections.abc import Iterator
import threading

from absl.testing import absltest

from pipelines.execution import prefetching


class PrefetchTest(absltest.TestCase):
  def test_gives_all_items_in_order(self) -> None:
    self.assertEqual(list(prefetching.prefetch(range(100))), list(range(100)))
    self.assertEqual(list(prefetching.prefetch([])), [])

  def test_makes_the_next_item_while_the_last_is_used(self) -> None:
    is_made = [threading.Event() for _ in range(4)]

    def make() -> Iterator[int]:
      for number, event in enumerate(is_made):
        event.set()
        yield number

    items = prefetching.prefetch(make())
    self.assertEqual(next(items), 0)
    self.assertTrue(is_made[1].wait(timeout=10))
    self.assertFalse(is_made[2].is_set())
    items.close()

  def test_hands_errors_on_after_the_items_before_them(self) -> None:
    def make() -> Iterator[int]:
      yield 1
      raise ValueError('broken')

    items = prefetching.prefetch(make())
    self.assertEqual(next(items), 1)
    with self.assertRaisesRegex(ValueError, 'broken'):
      next(items)


if __name__ == '__main__':
  absltest.main()

"""Tests of finding parts by name."""

import collections
import dataclasses
import sys
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized

from common import loading

_BUILT_IN = {'first': 1, 'second': 2}


@dataclasses.dataclass
class Mutable:
  """One whose options may change."""


class FindTest(parameterized.TestCase):
  def test_a_built_in_name(self) -> None:
    self.assertEqual(loading.find('--part', 'second', _BUILT_IN), 2)

  def test_one_of_the_users_own(self) -> None:
    self.assertIs(loading.find('--part', 'collections:OrderedDict', _BUILT_IN), collections.OrderedDict)
    self.assertIs(loading.find('--part', f'{__name__}:Mutable', _BUILT_IN), Mutable)

  def test_the_file_of_one(self) -> None:
    self.assertEqual(loading.find_file(f'{__name__}:Mutable'), __file__)
    self.assertIsNone(loading.find_file('second'))
    folder = self.create_tempdir()
    path = folder.create_file('not_yet_loaded.py', 'raise KeyError').full_path
    self.enterContext(mock.patch.object(sys, 'path', [*sys.path, folder.full_path]))
    self.assertEqual(loading.find_file('not_yet_loaded:PART'), path)  # Which runs no code.
    for name in ('not_there_at_all:PART', 'not_there_at_all.below:PART', ':PART'):
      self.assertIsNone(loading.find_file(name))

  @parameterized.parameters(
    ('secnd', "Expected --part to be one of first, second, found 'secnd': did you mean second[?]"),
    ('', 'one of first, second, found \'\': write "package.module:attribute" for'),
    ('my.module.Part', 'found \'my.module.Part\': write "my.module:Part" for one of your own'),
    ('my..module:Part', 'one of first, second, .*package.module:attribute'),
    ('no_such_package:Part', r"can be imported, found 'no_such_package:Part' \(No module.*first, second"),
    ('collections:OrderdDict', "found no attribute 'OrderdDict' there: did you mean collections:OrderedDict[?]"),
    ('collections:Zzzzzz', "found no attribute 'Zzzzzz' there: define Zzzzzz there"),
  )
  def test_refuses(self, name: str, message: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      loading.find('--part', name, _BUILT_IN)

  def test_a_module_with_a_mistake_in_it_is_refused(self) -> None:
    folder = self.create_tempdir()
    folder.create_file('broken_part.py', 'def (')
    with absltest.mock.patch('sys.path', [folder.full_path]), self.assertRaisesRegex(ValueError, 'invalid syntax'):
      loading.find('--part', 'broken_part:Part', _BUILT_IN)


class CheckDataclassTest(parameterized.TestCase):
  @parameterized.parameters(Mutable, int, 3, dataclasses.replace)
  def test_refuses_others(self, found: object) -> None:
    with self.assertRaisesRegex(ValueError, "Expected a frozen dataclass, found 'x': add @dataclasses"):
      loading.check_dataclass('x', found)


if __name__ == '__main__':
  absltest.main()

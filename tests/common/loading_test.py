"""Tests of finding parts by name."""

import collections
import dataclasses
import importlib
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

  def test_no_code_is_run_to_find_a_file(self) -> None:
    folder = self.create_tempdir()
    folder.create_file('outer_part/__init__.py', 'raise KeyError')
    folder.create_file('outer_part/inner/__init__.py', 'raise KeyError')
    path = folder.create_file('outer_part/inner/leaf.py', 'raise KeyError').full_path
    spaced = folder.create_file('outer_space/inner/leaf.py').full_path  # No __init__.py: namespace packages.
    self.enterContext(mock.patch.object(sys, 'path', [*sys.path, folder.full_path]))
    self.assertEqual(loading.find_file('outer_part.inner.leaf:PART'), path)
    self.assertEqual(loading.find_file('outer_space.inner.leaf:PART'), spaced)
    for name in ('outer_part.inner.leaf.more:PART', 'outer_part.other.leaf:PART', 'outer_space.inner:PART'):
      self.assertIsNone(loading.find_file(name))
    self.assertNotIn('outer_part', sys.modules)

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

  @parameterized.parameters(
    ('X = 1\ndef (\n', r'\(invalid syntax\): correct {path}, line 2\.$'),
    ('X = "\0"\n', r'null bytes\): correct {path}\.$'),
    ('X = 1\nimport not_there\n', r"\(No module named 'not_there'\): correct {path}, line 2\.$"),
    ('X = 1\nfrom collections import zzz\n', r"cannot import name 'zzz' .*: correct {path}, line 2\.$"),
  )
  def test_a_module_with_a_mistake_in_it_is_refused(self, code: str, message: str) -> None:
    folder = self.create_tempdir()
    file = folder.create_file('broken_part.py', code)
    self.enterContext(mock.patch.object(sys, 'path', [folder.full_path, *sys.path]))
    self.enterContext(mock.patch.object(sys, 'dont_write_bytecode', True))
    self.enterContext(mock.patch.dict(sys.modules))
    with self.assertRaisesRegex(
      ValueError,
      "^Expected --part that can be imported, found 'broken_part:PART' .*" + message.format(path=file.full_path),
    ):
      loading.find('--part', 'broken_part:PART', _BUILT_IN)
    file.write_text('PART = 3\n')
    importlib.invalidate_caches()
    self.assertEqual(loading.find('--part', 'broken_part:PART', _BUILT_IN), 3)


class CheckDataclassTest(parameterized.TestCase):
  @parameterized.parameters(Mutable, int)
  def test_refuses_other_classes(self, found: object) -> None:
    with self.assertRaisesRegex(ValueError, "Expected a frozen dataclass, found 'x': add @dataclasses"):
      loading.check_dataclass('x', found)
    loading.check_dataclass('x', dataclasses.make_dataclass('Other', (), frozen=True))

  @parameterized.parameters((3, 'int'), (dataclasses, 'module'), (dataclasses.replace, 'function'))
  def test_refuses_what_is_no_class(self, found: object, kind: str) -> None:
    with self.assertRaisesRegex(
      ValueError, f"a frozen dataclass, found 'x' of type {kind}, which is no class: name a class"
    ):
      loading.check_dataclass('x', found)


if __name__ == '__main__':
  absltest.main()

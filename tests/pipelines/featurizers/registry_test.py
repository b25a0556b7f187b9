"""Tests of finding featurizers by name."""

import dataclasses

from absl.testing import absltest
from absl.testing import parameterized

from pipelines import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import registry
from pipelines.rows import columns
from pipelines.rows import rows as rows_lib


class Thawed(base.Featurizer):
  """A featurizer that is no dataclass."""

  @property
  def schema(self) -> schema_lib.Schema:
    raise NotImplementedError

  @property
  def columns(self) -> tuple[columns.Column, ...]:
    return ()

  def weight_needed(self, examples: int) -> int:
    return examples

  def featurize(self, rows: rows_lib.ClientRows) -> base.Examples:
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Own(Thawed):
  """A featurizer as anyone may write it."""


@dataclasses.dataclass
class Mutable(Thawed):
  """One whose options may change."""


@dataclasses.dataclass(frozen=True)
class Partial(base.Featurizer):
  """One that lacks most of what it should do."""


@dataclasses.dataclass(frozen=True)
class Stranger:
  """Something else."""


class RegistryTest(parameterized.TestCase):

  @parameterized.parameters(*registry.KINDS)
  def test_each_kind_is_there_and_keeps_its_name(self, kind: str) -> None:
    self.assertEqual(registry.name(registry.find(kind)), kind)

  def test_a_class_of_ones_own_is_found_by_its_name(self) -> None:
    kind = f'{__name__}.Own'
    self.assertIs(registry.find(kind), Own)
    self.assertEqual(registry.name(Own), kind)

  @parameterized.parameters(
      ('character', "Expected kind to be one of characters, words, .*found 'character': did you mean characters?"),
      ('zzz', 'Expected kind to be one of characters, words, .* "package.module.Class"'),
      ('no_such_package.Own', r"Expected .* can be imported, found 'no_such_package.Own' \(No module named 'no_such_p"),
      ('json.Own', r"Expected .* can be imported, found 'json.Own' \(module 'json' has no attribute 'Own'"),
      ('.Own', "Expected kind to be one of .*found '.Own'"),
      ('a..b', "Expected kind to be one of .*found 'a..b'"),
      ('json.dumps', "Expected a featurizer, found 'json.dumps': derive it from"),
      (f'{__name__}.Stranger', "Expected a featurizer, found '.*Stranger': derive it from"),
      (f'{__name__}.Partial', "Expected a whole .*'.*Partial' without columns, featurize, schema, weight_needed:"),
      (f'{__name__}.Thawed', "Expected a frozen dataclass, found '.*Thawed': add @dataclasses"),
      (f'{__name__}.Mutable', "Expected a frozen dataclass, found '.*Mutable': add @dataclasses"),
  )
  def test_refuses_what_is_no_featurizer(self, kind: str, expected: str) -> None:
    with self.assertRaisesRegex(ValueError, expected):
      registry.find(kind)

  def test_a_module_with_a_mistake_in_it_is_refused(self) -> None:
    folder = self.create_tempdir()
    folder.create_file('broken_module.py', 'def (')
    with absltest.mock.patch('sys.path', [folder.full_path]), self.assertRaisesRegex(ValueError, 'invalid syntax'):
      registry.find('broken_module.Own')


if __name__ == '__main__':
  absltest.main()

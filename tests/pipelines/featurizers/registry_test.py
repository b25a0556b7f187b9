"""Tests of finding featurizers by name."""

import dataclasses
import textwrap
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import pyarrow as pa

from contracts import schema as schema_lib
from pipelines.featurizers import base
from pipelines.featurizers import checks
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
    kind = f'{__name__}:Own'
    self.assertIs(registry.find(kind), Own)
    self.assertEqual(registry.name(Own), kind)

  def test_the_example_that_the_interface_gives_works(self) -> None:
    paragraphs = (base.__doc__ or '').split('\n\n')
    code = textwrap.dedent('\n\n'.join(text for text in paragraphs if text.startswith('    ')))
    folder = self.create_tempdir()
    folder.create_file('example_of_ones_own.py', code)
    with absltest.mock.patch('sys.path', [folder.full_path]):
      kind = registry.find('example_of_ones_own:Pairs')
    featurizer = kind(number='heart_rate', label='sport', classes=('none', 'running'))  # type: ignore[call-arg]
    given = (pa.array(['60', '70', '5', '90', '80']), pa.array(['none', 'none', 'running', 'running', 'none']))
    read = [column.kind.read(values).values for column, values in zip(featurizer.columns, given, strict=True)]
    rows = rows_lib.ClientRows(pa.table(read, ['heart_rate', 'sport']), np.array([0, 2, 2, 3, 5, 5]))
    made = featurizer.featurize(rows)
    checks.check_examples(featurizer, made, rows)
    self.assertEqual((made.features.tolist(), made.labels.tolist()), ([[60, 70], [90, 80]], [0, 0]))
    self.assertEqual((made.starts.tolist(), made.first_row.tolist()), ([0, 1, 1, 1, 2, 2], [0, 3]))
    self.assertEqual((made.last_row.tolist(), featurizer.weight_needed(3)), ([1, 4], 4))
    self.assertTrue(featurizer.examples_overlap)

  def test_a_row_is_an_example_if_nothing_else_is_said(self) -> None:
    self.assertEqual(Own().weight_needed(7), 7)
    self.assertIsNone(Own().weigh(pa.table({})))

  @parameterized.parameters('Thawed', 'Mutable')
  def test_a_dataclass_is_made_frozen(self, name: str) -> None:
    with self.assertRaisesRegex(ValueError, 'add @dataclasses.dataclass.frozen=True. to it'):
      registry.find(f'{__name__}:{name}')
    frozen: Any = dataclasses.dataclass(frozen=True)(type(name, globals()[name].__bases__, dict(vars(globals()[name]))))
    with absltest.mock.patch.dict(globals(), {name: frozen}):
      self.assertIs(registry.find(f'{__name__}:{name}'), frozen)

  def test_what_a_featurizer_lacks_is_added(self) -> None:
    with self.assertRaisesRegex(ValueError, 'without .*: add these to it') as caught:
      registry.find(f'{__name__}:Partial')
    missing = str(caught.exception).partition('without ')[2].partition(':')[0].split(', ')
    members = {one: vars(Thawed)[one] for one in missing}
    whole: Any = dataclasses.dataclass(frozen=True)(type('Partial', (Partial,), members))
    with absltest.mock.patch.dict(globals(), {'Partial': whole}):
      self.assertIs(registry.find(f'{__name__}:Partial'), whole)

  def test_another_class_is_derived_from_the_base(self) -> None:
    with self.assertRaisesRegex(ValueError, 'derive it from pipelines.featurizers.base.Featurizer'):
      registry.find(f'{__name__}:Stranger')
    derived: Any = dataclasses.dataclass(frozen=True)(type('Stranger', (Own, Stranger), {}))
    with absltest.mock.patch.dict(globals(), {'Stranger': derived}):
      self.assertIs(registry.find(f'{__name__}:Stranger'), derived)

  @parameterized.parameters(
    ('character', "Expected kind to be one of characters, words, .*found 'character': did you mean characters?"),
    ('zzz', 'Expected kind to be one of characters, words, .* "package.module:attribute"'),
    ('no_such_package:Own', r"Expected .* can be imported, found 'no_such_package:Own' \(No module named 'no_such_p"),
    ('json:Own', "Expected kind in json, found no attribute 'Own' there: define Own there"),
    ('my.module.Own', 'Expected kind to be one of .*: write "my.module:Own" for one of your own'),
    ('.Own', "Expected kind to be one of .*found '.Own'"),
    ('a..b', "Expected kind to be one of .*found 'a..b'"),
    ('json:dumps', "Expected a featurizer, found 'json:dumps': derive it from"),
    (f'{__name__}:Stranger', "Expected a featurizer, found '.*Stranger': derive it from"),
    (f'{__name__}:Partial', "Expected a whole .*'.*Partial' without columns, featurize, schema:"),
    (f'{__name__}:Thawed', "Expected a frozen dataclass, found '.*Thawed': add @dataclasses"),
    (f'{__name__}:Mutable', "Expected a frozen dataclass, found '.*Mutable': add @dataclasses"),
  )
  def test_refuses_what_is_no_featurizer(self, kind: str, expected: str) -> None:
    with self.assertRaisesRegex(ValueError, expected):
      registry.find(kind)

  def test_a_module_with_a_mistake_in_it_is_refused(self) -> None:
    folder = self.create_tempdir()
    folder.create_file('broken_module.py', 'def (')
    with absltest.mock.patch('sys.path', [folder.full_path]), self.assertRaisesRegex(ValueError, 'invalid syntax'):
      registry.find('broken_module:Own')


if __name__ == '__main__':
  absltest.main()

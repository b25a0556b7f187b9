"""Model folders for each kind of example, with the snippets, and what the snippets must give."""

from collections.abc import Sequence
import dataclasses
import functools
import json
import os
import pathlib
import tempfile
from typing import Any

from absl.testing import absltest
import numpy as np
import pyarrow as pa

from contracts import personalization
from export import parity
from export import preprocessing
from export.on_device import training_file
from export.snippets import facts as facts_lib
from export.snippets import rendering
from pipelines.featurizers import base
from pipelines.featurizers import characters
from pipelines.featurizers import image
from pipelines.featurizers import items
from pipelines.featurizers import table
from pipelines.featurizers import vocabularies
from pipelines.featurizers import windows
from pipelines.featurizers import words
from pipelines.rows import number_columns
from pipelines.rows import rows as rows_lib
from pipelines.statistics import scaling
from tests.export import converted
from tests.export import fakes
from tests.export.on_device import trained

# How a snippet refuses examples of another size.
WRONG_SIZE = {
  'table': 'Expected 2 numbers in z, found 3.',
  'windows': 'Expected 6 numbers, found 8.',
  'image': 'Expected 144 numbers, found 156.',
}
_SIZE = 8
_TEXTS = [
  'O, \u0130stanbul\u2026  thou\u2019rt  fair!',
  '\u03a3\u0391\u03a3\u00a0and caf\u00e9 cafe\u0301; 12,5\tfair',
  "'tis na\u00efve \u2013 ~ \U0001f600\u2028x\u0085y",
  '',
  '\u597d\U0001f469\u200d\U0001f467 x\u0331 e',
]
_WORDS = (
  ',',
  '!',
  'fair',
  "'tis",
  'i\u0307stanbul',
  'istanbul',
  'thou\u2019rt',
  '\u03c3\u03b1\u03c3',
  'and',
  'caf\u00e9',
)
_ITEMS = ('Caf\u00e9 3', '17', '5', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '100000')
_VISITS = [
  '\u200bCafe\u0301 3 ',
  '17.0',
  '17',
  '9',
  '\uff15',
  '1e+05',
  'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11',
  '5',
  '-0.0',
  '17.5',
]
_NUMBERS = ('x', number_columns.NumberColumn('z', 7.0, 2), number_columns.NumberColumn('on', -1.5))
_CATEGORIES = (
  table.Category('os', ('ios', 'web', '1'), other=True, missing=True),
  table.Category('answer', ('true', 'false', '\u00e9'), other=True),
  table.Category('sex', ('f', 'm')),
)
_SCALING = scaling.Scaling('declared', mean=(0.1, 1.0, 2.0, 3.0), stddev=(0.3, 2.0, 4.0, 7.0))
_ROWS: dict[str, list[Any]] = {
  'x': [0.1, 7, -2.5, None, 1e-3],
  'z': [[1, 2], [None, 4], None, [5, 6], [0.5, -1]],
  'on': [True, None, False, True, False],
  'os': ['web', '1.0', None, 'linux', '\u200bios '],
  'answer': ['TRUE', 'False', 'e\u0301', 'truth', '\u00e9'],
  'sex': ['m', 'f', 'f', 'm', 'm'],
  'label': ['a', 'b', 'b', 'a', 'a'],
}
_LABEL: dict[str, Any] = {'label': 'label', 'classes': ('a', 'b', 'c')}


@dataclasses.dataclass(frozen=True)
class Case:
  """A kind of example.

  Attributes:
    featurizer: What made the examples of the data set.
    variant: Which file there is.
    columns: The rows of one client.
  """

  featurizer: base.Featurizer
  variant: str
  columns: dict[str, list[Any]]

  @property
  def is_sequence(self) -> bool:
    return self.featurizer.schema.task.startswith('next_')

  @property
  def has_end(self) -> bool:
    """Whether something stands after each text."""
    return getattr(self.featurizer, 'end_token', False)

  @property
  def given(self) -> list[Any]:
    """What the snippet is given: the texts or items of a client, or one example after the other."""
    if self.is_sequence:
      texts = next(iter(self.columns.values()))
      # What ends a sequence is a label alone.
      return texts if self.has_end else texts[:-1]
    rows = [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]
    if isinstance(self.featurizer, image.Image):
      return [np.frombuffer(row['picture'], np.uint8).reshape(12, 12).tolist() for row in rows]
    if isinstance(self.featurizer, windows.Windows):
      length = self.featurizer.length
      return [rows[start : start + length] for start in range(len(rows) - length + 1)]
    return rows

  @property
  def wrong(self) -> Any:
    """What the snippet refuses: an example with more numbers than the model takes; an empty sequence has no answer."""
    if self.is_sequence:
      return [] if isinstance(self.featurizer, items.Items) else ['']
    first = self.given[0]
    return {**first, 'z': [1, 2, 3]} if isinstance(first, dict) else [*first, first[0]]

  @property
  def features(self) -> np.ndarray:
    """What the data set has: the codes of a sequence, or `[n, ...]`."""
    features = featurize(self.featurizer, self.columns).features
    return np.trim_zeros(features.ravel(), 'b') if self.is_sequence else features

  @property
  def file_name(self) -> str:
    return f'{self.featurizer.schema.task}.{self.variant}.tflite'

  def encode(self, *pieces: str) -> np.ndarray:
    """Returns the features of a sequence of listed elements: `[1, length]`."""
    features = np.zeros((1, *self.featurizer.schema.feature.shape), np.int32)
    features[0, : len(pieces)] = [self.featurizer.schema.classes.index(piece) for piece in pieces]
    return features

  def check(self, test: absltest.TestCase, found: dict[str, Any]) -> None:
    """Compares what a snippet made and answered with the data set and the file.

    Args:
      test: The test.
      found: The `features` and `logits` of what it was given, and the best two `answers`.
    """
    features, schema = self.features, self.featurizer.schema
    made = np.array(found['features'], features.dtype).reshape(features.shape)
    np.testing.assert_array_equal(made, features)
    expected = self._answer_each(features)
    np.testing.assert_allclose(found['logits'], expected, atol=1e-5)
    order = schema.first_answer + np.argsort(-expected[:, schema.first_answer :], kind='stable')[:, :2]
    test.assertEqual(found['answers'], [[schema.classes[code] for code in row] for row in order])

  def _answer_each(self, features: np.ndarray) -> np.ndarray:
    """Returns the logits of each element of a sequence, or of each example."""
    if not self.is_sequence:
      return self.answer(features)
    if self.variant == 'step':
      seen = windows_of(features.tolist(), self.featurizer.schema.feature.shape[0])
      answers = zip(seen, self.answer(seen), strict=True)
      return np.stack([logits[np.count_nonzero(row) - 1] for row, logits in answers])
    padded = np.zeros((1, *self.featurizer.schema.feature.shape), features.dtype)
    padded[0, : len(features)] = features
    return self.answer(padded)[0, : len(features)]

  def describe(self, signature: Sequence[parity.End], training: Sequence[parity.End] = ()) -> dict[str, Any]:
    """Returns what preprocessing.json says of a file, and of one that trains if there are ends of it."""
    signatures = {'step' if self.variant == 'step' else 'whole': signature, **({'train': training} if training else {})}
    tuning = personalization.FineTuning(1, 0.1, 20)
    described = preprocessing.describe(fakes.manifest(self.featurizer), signatures, None, tuning)
    return json.loads(json.dumps(described))

  def answer(self, features: np.ndarray) -> np.ndarray:
    """Returns the logits of the file for features of examples, on LiteRT."""
    return converted.answer(self.variant, self.featurizer.schema, _SIZE, features).logits


_PIXELS = np.random.default_rng(7).integers(0, 256, (2, 144), np.uint8)
CASES = {
  'characters': Case(characters.Characters('text', 12), 'step', {'text': _TEXTS}),
  'words': Case(
    words.Words('text', vocabularies.Words('declared', words=_WORDS), 64), 'dynamic_range', {'text': _TEXTS}
  ),
  'items': Case(items.Items('item', vocabularies.Items('declared', items=_ITEMS), 6), 'step', {'item': _VISITS}),
  'table': Case(
    table.Table(**_LABEL, numbers=_NUMBERS, categories=_CATEGORIES, missing=2.0, scaling=_SCALING), 'float32', _ROWS
  ),
  'windows': Case(
    windows.Windows(**_LABEL, numbers=('x', number_columns.NumberColumn('on', -1.5)), length=3, stride=1),
    'float32',
    {'x': [0.1, 7, -2.5, 0.5, 1e-3], 'on': _ROWS['on'], 'label': ['a'] * 5},
  ),
  'image': Case(
    image.Image('picture', 'label', ('a', 'b', 'c'), 12, 12, True),
    'float32',
    {'picture': [row.tobytes() for row in _PIXELS], 'label': ['a', 'b']},
  ),
}


def featurize(featurizer: base.Featurizer, columns: dict[str, list[Any]]) -> base.Examples:
  """Returns the examples of the rows of one client, as the data set has them."""
  read = {column.name: column.kind.read(pa.array(columns[column.name])).values for column in featurizer.columns}
  rows = len(next(iter(columns.values())))
  return featurizer.featurize(rows_lib.ClientRows(pa.table(read), np.array([0, rows])))


@functools.cache
def make(kind: str) -> str:
  """Returns a folder with the files that a snippet of a case reads, and the snippets."""
  case = CASES[kind]
  schema = case.featurizer.schema
  one = np.zeros((1, *schema.feature.shape), schema.feature.dtype)
  steps = case.describe(converted.answer(case.variant, schema, _SIZE, one).signature)
  content = converted.make(case.variant, schema, _SIZE)
  return _write(facts_lib.Facts(steps, case.file_name, 'step' in steps), schema.classes, content)


def make_training(kind: str) -> tuple[str, str]:
  """Returns a folder as `make`, which has a file that trains, and nothing else; and the path of that file."""
  case = CASES[kind]
  _, trained_path = trained.folder(case.featurizer.schema)
  ends = training_file.TrainingFile.open(trained_path).describe()
  described = preprocessing.describe(fakes.manifest(case.featurizer), {'train': ends}, None, trained.tuning())
  path = f'{case.featurizer.schema.task}.train.tflite'
  facts = facts_lib.Facts(json.loads(json.dumps(described)), path, is_step=False, training_path=path)
  content = pathlib.Path(trained_path).read_bytes()
  folder = _write(facts, case.featurizer.schema.classes, content, (*rendering.NAMES, *rendering.TRAINING_NAMES))
  return folder, os.path.join(folder, path)


def make_without_model(kind: str) -> str:
  """As `make`, quickly: for what makes examples only."""
  return _write(facts(kind), CASES[kind].featurizer.schema.classes, b'', (*rendering.NAMES, *rendering.TRAINING_NAMES))


def _write(
  facts: facts_lib.Facts, classes: Sequence[str], content: bytes, names: Sequence[str] = rendering.NAMES
) -> str:
  folder = pathlib.Path(tempfile.mkdtemp(dir=absltest.get_default_test_tmpdir()))
  (folder / facts.path).write_bytes(content)
  (folder / 'classes.json').write_text(json.dumps(classes, ensure_ascii=False))
  (folder / 'preprocessing.json').write_text(json.dumps(facts.steps))
  (folder / 'snippets').mkdir()
  for name in names:
    (folder / 'snippets' / name).write_text(rendering.render(name, facts))
  return os.fspath(folder)


def facts(kind: str) -> facts_lib.Facts:
  """Returns the facts of a case, of a file with other names and shapes: they are quickly made."""
  case = CASES[kind]
  schema = case.featurizer.schema
  is_step = case.variant == 'step'
  ends: list[parity.End] = [
    ('input', 'x', 'int32' if case.is_sequence else 'float32', (1,) if is_step else (1, *schema.feature.shape)),
    ('output', 'y', 'float32', (1, *schema.label.shape, schema.num_classes)),
  ]
  if is_step:
    ends += [('input', 'state_0', 'float32', (1, 4)), ('output', 'next_state_0', 'float32', (1, 4))]
  x, y, logits = (20, *schema.feature.shape), (20, *schema.label.shape), (1, *schema.label.shape, schema.num_classes)
  of_train = (('x', ends[0][2], x), ('y', 'int32', y), ('weight', 'float32', (20,)), ('lr', 'float32', ()))
  training: list[parity.End] = [
    *(('input', f'train.{name}', dtype, shape) for name, dtype, shape in of_train),
    ('output', 'train.loss', 'float32', ()),
    ('input', 'infer.x', ends[0][2], (1, *x[1:])),
    ('output', 'infer.logits', 'float32', logits),
    *(('output', f'get_weights.w{index}', 'float32', (3, index + 1)) for index in range(2)),
  ]
  steps = case.describe(ends, training)
  return facts_lib.Facts(steps, case.file_name, is_step, training_path=f'{schema.task}.train.tflite')


def windows_of(codes: Sequence[int], longest: int) -> np.ndarray:
  """Returns what a step file has seen when it answers for each element, padded: after `longest`, half of it again."""
  rows, start = [], 0
  for stop in range(1, len(codes) + 1):
    start = stop - 1 - longest // 2 if stop - start > longest else start
    rows.append([*codes[start:stop], *[0] * (longest - stop + start)])
  return np.array(rows)

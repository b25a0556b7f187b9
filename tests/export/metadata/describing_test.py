"""Tests of what files say of themselves, read as others read it. Without TensorFlow."""

import contextlib
import io
import json
import pathlib
from typing import Any

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from contracts import personalization
from export.metadata import facts as facts_lib
from export.metadata import metadata_schema_py_generated as standard
from export.metadata import packing
from export.variants import registry
from pipelines.featurizers import characters
from pipelines.featurizers import image
from pipelines.featurizers import table
from pipelines.statistics import scaling
from tests import documented
from tests.export import fakes
from tests.export.metadata import described
from tests.export.metadata import tiny

_LABELS = ('a', '\n', '\\', 'é', '\u2028', '"', ' ')
_SCALED: dict[str, Any] = {
  'numbers': ('age', 'height'),
  'scaling': scaling.Scaling('declared', (40.0, 170.0), (10.0, 20.0)),
}


def _read_entry(content: bytes) -> dict[str, Any]:
  return json.loads(packing.read_entries(content)['POCKETFED'])


def _read_input(content: bytes) -> Any:
  (graph,) = packing.read_standard(content).subgraphMetadata
  (found,) = graph.inputTensorMetadata
  return found


class DescribingTest(parameterized.TestCase):
  def test_the_model(self) -> None:
    content = described.make(stated=facts_lib.Credits('Ada', 'Apache-2.0'))
    np.testing.assert_array_equal(tiny.answer(content), tiny.answer(tiny.make()))
    found = packing.read_standard(content)
    self.assertEqual((found.name, found.author, found.license), (b'mine on my_logs', b'Ada', b'Apache-2.0'))
    self.assertRegex(found.version, b'^round 140, [0-9a-f]{12}$')
    self.assertEqual(found.minParserVersion, b'1.0.0')
    description = found.description.decode()
    self.assertStartsWith(
      description, 'float32: full precision. Trained by federated learning on the data set my_logs.'
    )
    self.assertIn('. (7.62, 0.0001)-differential privacy: see the entry POCKETFED.', description)
    self.assertEqual(packing.read_standard(described.make()).license, b'none stated by whoever exported the file')

  def test_inputs_and_outputs(self) -> None:
    (graph,) = packing.read_standard(described.make()).subgraphMetadata
    self.assertEqual(graph.name, b'whole')
    (given,), (returned,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    self.assertEqual((given.name, returned.name), (b'features', b'logits'))
    (labels,) = returned.associatedFiles
    self.assertEqual((labels.name, labels.type), (b'labels.txt', standard.AssociatedFileType.TENSOR_AXIS_LABELS))
    self.assertIsNone(given.associatedFiles)
    self.assertIsNone(given.processUnits)

  def test_the_entry_for_programs(self) -> None:
    found = _read_entry(described.make())
    self.assertEqual((found['format'], found['task'], found['variant'], found['round']), (1, 'mine', 'float32', 140))
    self.assertEqual(found['data'], {'name': 'my_logs', 'sha256': 'f00d'})
    self.assertLen(found['model'], 64)
    self.assertEqual((found['privacy']['epsilon'], found['privacy']['unit']), (7.62, 'client'))
    self.assertStartsWith(found['privacy']['statement'], '(7.62, 0.0001)-differential privacy')
    self.assertNotIn('reconstructs', found['privacy']['statement'])
    self.assertStartsWith(found['privacy']['trust_model'], 'simulated on one machine')
    self.assertLen(found['privacy']['not_covered'], 2)
    self.assertEqual(found['preprocessing']['input'], {'name': 'features', 'dtype': 'float32', 'shape': [1, 3]})
    self.assertEqual(found['preprocessing']['classes'], 'labels.txt')
    self.assertNotIn('signatures', found)

  def test_only_what_takes_examples_is_described_as_such(self) -> None:
    scaled = table.Table(label='y', classes=('a', 'b'), categories=(table.Category('os', ('ios',)),), **_SCALED)
    cases: tuple[dict[str, Any], ...] = ({'given': 'state_0'}, {'returned': 'next_state_0'})
    for names in cases:
      (graph,) = packing.read_standard(described.make(scaled, content=tiny.make(**names))).subgraphMetadata
      (given,), (returned,) = graph.inputTensorMetadata, graph.outputTensorMetadata
      self.assertEqual(given.processUnits is None, 'given' in names)
      self.assertEqual(returned.associatedFiles is None, 'returned' in names)

  def test_several_signatures(self) -> None:
    content = described.make(content=tiny.make(returned='w0', more=('train',)))
    (graph,) = packing.read_standard(content).subgraphMetadata
    # As many numbers as there are classes, but no logits.
    self.assertIsNone(graph.outputTensorMetadata[0].associatedFiles)
    ends = [['input', 'features', 'float32', [1, 3]], ['output', 'w0', 'float32', [1, 3]]]
    self.assertEqual(_read_entry(content)['signatures'], {'serving_default': ends, 'train': ends})

  def test_a_file_that_trains(self) -> None:
    tuning = personalization.FineTuning(2, 0.5, 4)
    content = described.make(content=tiny.make('get_weights', 'x', 'w0', more=('train',)), tuning=tuning)
    entry = _read_entry(content)
    self.assertEqual(entry['preprocessing']['training']['batch_size'], 4)
    self.assertEqual(list(entry['preprocessing']['training']['signatures']), ['get_weights', 'train'])
    self.assertNotIn('signatures', entry)

  def test_local_layers(self) -> None:
    ledger = {**fakes.privacy(), **personalization.to_ledger(personalization.FineTuning(2, 0.5, 4, ('logits',)))}
    self.assertEqual(_read_entry(described.make(ledger=ledger))['on_device']['local_layers'], ['logits'])
    self.assertIn(
      'a device reconstructs them before use', _read_entry(described.make(ledger=ledger))['privacy']['statement']
    )
    self.assertNotIn('on_device', _read_entry(described.make()))

  def test_a_run_without_a_promise(self) -> None:
    for ledger in (fakes.privacy(private=False), {}):
      found = _read_entry(described.make(ledger=ledger))
      self.assertStartsWith(found['privacy']['statement'], 'No privacy guarantee: ')
      self.assertIsNone(found['privacy']['epsilon'])

  @parameterized.parameters(
    (
      'int8',
      'released',
      "learned the ranges of the values inside from clients' data, without noise: no epsilon covers",
    ),
    ('qat', 'public', 'learned the weights and the ranges of the values inside from examples that the exporter decl'),
    ('float32', 'released', ''),
  )
  def test_what_was_learned_from_examples(self, variant: str, learned_from: str, expected: str) -> None:
    content = described.make(variant=registry.VARIANTS[variant], learned_from=learned_from)
    for text in (_read_entry(content)['privacy']['statement'], packing.read_standard(content).description.decode()):
      self.assertEqual('This file learned' in text, bool(expected))
      self.assertIn(expected, text)

  def test_labels_are_one_a_line(self) -> None:
    content = described.make(classes=_LABELS)
    text = packing.read_files(content)['labels.txt'].decode()
    lines = text.splitlines()
    self.assertEqual(lines[:4], ['a', '\\n', '\\\\', 'é'])
    quoted = ('"' + line.replace('"', '\\"') + '"' for line in lines)
    self.assertEqual(tuple(map(json.loads, quoted)), _LABELS)

  def test_a_vocabulary_is_of_the_input_too(self) -> None:
    content = described.make(characters.Characters('text'), classes=('<pad>', '<unknown>', 'x'), sequence=True)
    given = _read_input(content)
    (vocabulary,) = given.associatedFiles
    self.assertEqual((vocabulary.name, vocabulary.type), (b'labels.txt', standard.AssociatedFileType.VOCABULARY))
    self.assertIn(b'as its index in `labels.txt`', given.description)
    self.assertIn(b'`first_answer` of `preprocessing` of the entry POCKETFED', given.description)
    self.assertEqual(packing.read_standard(content).minParserVersion, b'1.0.1')

  def test_numbers_are_normalized(self) -> None:
    category = table.Category('os', ('ios',))
    content = described.make(table.Table(label='y', classes=('a', 'b'), categories=(category,), **_SCALED))
    given = _read_input(content)
    (unit,) = given.processUnits
    self.assertEqual(unit.optionsType, standard.ProcessUnitOptions.NormalizationOptions)
    np.testing.assert_array_equal(unit.options.mean, np.array([40, 170, 0], np.float32))
    np.testing.assert_array_equal(unit.options.std, np.array([10, 20, 1], np.float32))
    self.assertIn(b'subtract its `mean`', given.description)
    self.assertEqual(_read_entry(content)['preprocessing']['examples']['scaling']['mean'], [40, 170])

  def test_images_are_grey(self) -> None:
    given = _read_input(described.make(image.Image('pixels', 'y', ('a', 'b'), 10, 12), shape=(10, 12)))
    self.assertEqual(given.content.contentPropertiesType, standard.ContentProperties.ImageProperties)
    size = given.content.contentProperties.defaultSize
    self.assertEqual(given.content.contentProperties.colorSpace, standard.ColorSpaceType.GRAYSCALE)
    self.assertEqual((size.height, size.width, list(given.stats.max)), (10, 12, [255.0]))
    self.assertEqual(list(given.processUnits[0].options.std), [1.0])

  def test_integers_at_the_input_and_output(self) -> None:
    featurizer = image.Image('pixels', 'y', ('a', 'b', 'c'), 10, 12)
    content = described.make(
      featurizer, registry.VARIANTS['int8_io'], shape=(10, 12), content=tiny.make(quantized=True)
    )
    (graph,) = packing.read_standard(content).subgraphMetadata
    (given,), (returned,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    self.assertIn(b'grey values', given.description)
    self.assertEndsWith(given.description, b' Then quantize: number / 0.5 + -3, rounded, and cut to the range of int8.')
    self.assertEqual(
      returned.description,
      b'Logits: one for each class; labels.txt has what they mean, in order. An '
      b'integer stands for (integer - -3) * 0.5.',
    )
    found = _read_entry(content)['preprocessing']['quantized']
    end = {'dtype': 'int8', 'scale': 0.5, 'zero_point': -3}
    self.assertEqual(found['files'], {'mine.int8_io.tflite': {'input': end, 'output': end}})
    self.assertNotIn('quantized', _read_entry(described.make(featurizer, shape=(10, 12)))['preprocessing'])

  def test_a_file_that_needs_flex(self) -> None:
    for custom in ('', 'FlexErf'):
      description = packing.read_standard(described.make(content=tiny.make(custom=custom))).description.decode()
      self.assertEqual('LiteRT alone cannot run this file' in description, bool(custom))

  def test_a_large_vocabulary_is_in_the_file_once(self) -> None:
    vocabulary = ('<pad>', '<unknown>', *(f'word{index:05}' for index in range(10_000)))
    small, large = (
      len(described.make(characters.Characters('text'), classes=classes, sequence=True))
      for classes in (vocabulary[:3], vocabulary)
    )
    # A line has ten bytes.
    self.assertBetween(large - small, 99_000, 101_000)

  def test_the_same_bytes_whenever(self) -> None:
    self.assertEqual(described.make(), described.make())

  def test_reads_it_as_the_page_has_it(self) -> None:
    (block,) = (
      block
      for block in documented.blocks('docs/export.md', documented.read('docs/export.md'))
      if block.first_line.startswith('from export.metadata')
    )
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / 'next_character.dynamic_range.tflite').write_bytes(described.make())
    printed = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
      exec(block.text, {})
    self.assertContainsInOrder(
      ['float32: full precision.', '{"format":1,"task":"mine"', 'x\ny\nz\n'], printed.getvalue()
    )

  def test_small(self) -> None:
    content = described.make(characters.Characters('text'), classes=tuple('xyz'), sequence=True)
    self.assertLess(len(content) - len(tiny.make()), 4_000)


if __name__ == '__main__':
  absltest.main()

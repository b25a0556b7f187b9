"""Holds the house to its rules, and shows that each rule can be broken."""

from collections.abc import Sequence
import re
import statistics
import tomllib

from absl.testing import absltest
from absl.testing import parameterized

from tests import house_rules
from tests import layout

_TESTS_OF_ALL = tuple(
  f'tests/{name}_test.py'
  for name in (
    'docs',
    'preloaded',
    'terminal',
    'end_to_end',
    'export/card/released',
    'export/metadata/mediapipe',
    'export/variants/family',
    'items_end_to_end',
    'layout',
    'mains',
    'pipelines/flink',
    'pipelines/folders',
    'pipelines/pooled',
    'pipelines/readers/fuzz',
    'setup',
    'tff_tasks/client_memory',
    'tff_tasks/aggregation/attack',
    'tff_tasks/aggregation/rounds',
    'tff_tasks/remedies',
    'tiers',
  )
)
# Files without a test file of their own, and what tests them.
_TESTED_ELSEWHERE: dict[str, str] = {
  'export/forms/base.py': 'an interface; the forms are tested',
  'export/forms/registry.py': 'names; variants/registry_test.py and tflite_test.py use them',
  'export/metadata/metadata_schema_py_generated.py': 'written by a program; packing_test.py reads with it',
  'export/variants/clustered.py': 'family_test.py and fine_tuning_test.py make its files',
  'export/variants/pruned.py': 'family_test.py and fine_tuning_test.py make its files',
  'export/variants/qat.py': 'family_test.py makes its file, fine_tuning_test.py names the layers that it refuses',
  'pipelines/rows/rows.py': 'names; bounds_test.py and parsing_test.py give them values',
  'pipelines/featurizers/base.py': 'an interface; the featurizers are tested',
  'pipelines/readers/base.py': 'an interface; the readers are tested',
  'tff_tasks/aggregation/base.py': 'a protocol; registry_test.py and the aggregations are tested',
  'tff_tasks/aggregation/mean.py': 'a name without behaviour; private_mean.py is tested',
  'tff_tasks/algorithms/base.py': 'a protocol; registry_test.py and the algorithms are tested',
  'tff_tasks/algorithms/fed_avg.py': 'its parts; fed_prox_test.py and learning_process_test.py train with it',
  'tff_tasks/flags/client.py': 'definitions; train_test.py gives them values',
  'tff_tasks/flags/cohort.py': 'definitions; train_test.py gives them values',
  'tff_tasks/flags/combination.py': 'definitions; train_test.py gives them values',
  'tff_tasks/flags/personalization.py': 'definitions; train_test.py gives them values',
  'tff_tasks/flags/privacy.py': 'definitions; train_test.py gives them values',
  'tff_tasks/flags/run.py': 'definitions; train_test.py gives them values',
  'tff_tasks/flags/server.py': 'definitions; train_test.py gives them values',
  'tff_tasks/population/samplers/base.py': 'a base class; registry_test.py runs its example, the samplers are tested',
  'tff_tasks/population/samplers/events.py': 'a class without behaviour; accountant_test.py accounts for it',
  'tff_tasks/runtime/base.py': 'a protocol; registry_test.py builds runtimes',
}

_MEDIAN_FUNCTION_LINES = 12
_P90_FUNCTION_LINES = 35


class HouseTest(absltest.TestCase):
  """The project as it is."""

  sources: Sequence[layout.Source]

  @classmethod
  def setUpClass(cls) -> None:
    super().setUpClass()
    cls.sources = layout.read_sources()

  def assert_none(self, complaints: Sequence[str]) -> None:
    if complaints:
      self.fail('\n'.join(sorted(complaints)))

  def test_finds_the_files(self) -> None:
    modules = {source.module: source for source in self.sources}
    self.assertContainsSubset({'pipelines', 'contracts.schema', 'tests.layout', 'tests.layout_test'}, modules)
    self.assertTrue(modules['pipelines.preprocess'].is_main)
    self.assertNotEmpty([path for path in layout.find_files() if path == '.ci/run'])

  def test_imports(self) -> None:
    self.assert_none(house_rules.check_imports(self.sources))

  def test_no_circle_of_files_or_packages(self) -> None:
    self.assert_none(house_rules.check_circles(self.sources))

  def test_tests_mirror_the_folders(self) -> None:
    self.assert_none(house_rules.check_mirror(layout.find_files(), _TESTS_OF_ALL, _TESTED_ELSEWHERE))

  def test_sizes(self) -> None:
    self.assert_none(house_rules.check_sizes(self.sources))

  def test_most_functions_are_short(self) -> None:
    ours = [source for source in self.sources if source.folder in layout.HOUSE and not source.is_generated]
    lengths = [length for source in ours for _, length in source.functions()]
    self.assertLessEqual(statistics.median(lengths), _MEDIAN_FUNCTION_LINES)
    self.assertLessEqual(statistics.quantiles(lengths, n=10)[-1], _P90_FUNCTION_LINES)

  def test_no_machine_paths(self) -> None:
    texts = {path: (layout.ROOT / path).read_text(errors='ignore') for path in layout.find_files()}
    self.assert_none(house_rules.check_texts(texts))

  def test_imported_packages_are_declared(self) -> None:
    project = tomllib.loads((layout.ROOT / 'pyproject.toml').read_text())['project']
    development = project['optional-dependencies']['dev']
    declared = {re.split('[^a-z0-9-]', line)[0] for line in (*project['dependencies'], *development)}
    self.assert_none(house_rules.check_distributions(self.sources, declared))

  def test_build(self) -> None:
    self.assert_none(house_rules.check_build((layout.ROOT / 'BUILD').read_text(), self.sources))

  def test_build_gives_programs_the_files_they_read(self) -> None:
    build = layout.parse_build((layout.ROOT / 'BUILD').read_text())
    given = {path for target in build.targets for path in target.data or ()}
    self.assertContainsSubset([path for path in layout.find_files() if path.endswith('.j2')], given)


def _source(path: str, text: str) -> layout.Source:
  return layout.Source(path, text)


_RUN = "if __name__ == '__main__':\n  main()\n"
_NEIGHBORS = (
  _source('contracts/schema.py', ''),
  _source('pipelines/job.py', ''),
  _source('pipelines/preprocess.py', _RUN),
  _source('tff_tasks/loop.py', ''),
  _source('models/task.py', ''),
  _source('reporting/report.py', ''),
  _source('export/parity.py', ''),
)


class RulesTest(parameterized.TestCase):
  """The rules against files that keep or break them."""

  @parameterized.parameters(
    ('export/a.py', 'import tensorflow_federated as tff'),
    ('examples/a.py', 'import tensorflow_federated as tff'),
    ('tff_tasks/a.py', 'import apache_beam.io'),
    ('models/a.py', 'from apache_beam import io'),
    ('contracts/a.py', 'import tensorflow as tf'),
    ('pipelines/a.py', 'def f():\n  import tensorflow_federated'),
    ('export/a.py', 'from tff_tasks import loop'),
    ('tff_tasks/a.py', 'from pipelines import job'),
    ('tff_tasks/a.py', 'from export import parity'),
    ('tff_tasks/a.py', 'import pipelines.job'),
    ('models/a.py', 'from contracts import schema as a\nfrom pipelines import job'),
    ('contracts/a.py', 'from pipelines import job'),
    ('pipelines/a.py', 'from pipelines import preprocess'),
    ('tests/end_to_end_test.py', 'from pipelines import preprocess'),
    ('export/a.py', 'from absl import flags'),
  )
  def test_refuses_an_import(self, path: str, text: str) -> None:
    self.assertLen(house_rules.check_imports((*_NEIGHBORS, _source(path, text))), 1)

  @parameterized.parameters(
    ('pipelines/a.py', 'import apache_beam\nfrom pipelines import job'),
    ('examples/extensions/a.py', 'import tensorflow_federated as tff'),
    ('tff_tasks/a.py', 'import tensorflow_federated\nfrom tff_tasks import loop\nfrom reporting import report'),
    ('export/a.py', 'from models import task\nfrom contracts import schema as schema_lib'),
    ('tests/pipelines/preprocess_test.py', 'from pipelines import preprocess'),
    ('export/a.py', f'from absl import flags\n{_RUN}'),
    ('export/simulation/a.py', 'from tff_tasks import loop'),
    ('common/cli.py', 'from absl import flags'),
  )
  def test_allows_an_import(self, path: str, text: str) -> None:
    self.assertEmpty(house_rules.check_imports((*_NEIGHBORS, _source(path, text))))

  @parameterized.parameters(
    ({'models/a.py': 'from models import b', 'models/b.py': 'from models import a'},),
    ({'models/x/a.py': 'from models.y import a', 'models/y/a.py': '', 'models/y/b.py': 'from models.x import a'},),
    ({'models/a.py': 'from models.x import a', 'models/x/a.py': '', 'models/x/b.py': 'from models import a'},),
  )
  def test_finds_a_circle(self, texts: dict[str, str]) -> None:
    self.assertNotEmpty(house_rules.check_circles([_source(path, text) for path, text in texts.items()]))

  def test_a_file_at_the_top_may_be_below_and_another_above_a_package(self) -> None:
    texts = {'models/a.py': 'from models.x import a', 'models/x/a.py': 'from models import b', 'models/b.py': ''}
    self.assertEmpty(house_rules.check_circles([_source(path, text) for path, text in texts.items()]))

  @parameterized.parameters(
    (['models/a.py'], ()),
    (['tests/models/a_test.py'], ()),
    (['tests/a_test.py'], ()),
    (['models/a.py', 'tests/models/a_test.py'], ['models/a.py']),
    ([], ['models/a.py']),
  )
  def test_tests_must_mirror(self, paths: Sequence[str], tested_elsewhere: Sequence[str]) -> None:
    self.assertLen(house_rules.check_mirror(paths, ['tests/all_test.py'], tested_elsewhere), 1)

  def test_mirrored_tests_pass(self) -> None:
    paths = ['models/__init__.py', 'models/a.py', 'models/b.py', 'tests/models/a_test.py', 'tests/all_test.py']
    self.assertEmpty(house_rules.check_mirror(paths, ['tests/all_test.py'], ['models/b.py']))

  def test_sizes_have_limits(self) -> None:
    body = 'def f():\n' + '  pass\n' * 59
    self.assertEmpty(house_rules.check_sizes([_source('models/a.py', body + '#\n' * 240)]))
    self.assertLen(house_rules.check_sizes([_source('models/a.py', body + '#\n' * 241)]), 1)
    self.assertLen(house_rules.check_sizes([_source('models/a.py', body + '  pass\n')]), 1)
    self.assertEmpty(house_rules.check_sizes([_source('models/a_py_generated.py', body + '  pass\n' * 300)]))

  def test_machine_paths_are_found(self) -> None:
    self.assertLen(house_rules.check_texts({'a': 'in /' + 'home/me', 'b': 'at home'}), 1)

  def test_packages_must_be_declared(self) -> None:
    source = _source('models/a.py', 'import json\nfrom absl import flags\nimport ai_edge_litert.a\nimport six')
    complaints = house_rules.check_distributions([source], {'absl-py', 'ai-edge-litert'})
    self.assertEqual(complaints, ['models/a.py imports six: declare it in pyproject.toml.'])


_FILES = (
  _source('models/task.py', 'from absl import logging\nimport os'),
  _source('models/train.py', f'from models import task\n{_RUN}'),
  _source('tests/models/train_test.py', f'from models import train\n{_RUN}'),
)
_BUILD = """
load("@rules_python//python:defs.bzl", "py_binary", "py_library", "py_test")
py_library(name = "task", srcs = ["models/task.py"], deps = ["@pypi//absl_py"])
py_binary(name = "train", srcs = ["models/train.py"], main = "models/train.py", data = glob(["*"]), deps = [":task"])
py_test(
    name = "train_test",
    srcs = ["tests/models/train_test.py"],
    main = "tests/models/train_test.py",
    deps = [":train"],
)
"""


class BuildRulesTest(parameterized.TestCase):
  """What is asked of BUILD."""

  def test_a_true_build_passes(self) -> None:
    self.assertEmpty(house_rules.check_build(_BUILD, _FILES))

  @parameterized.parameters(
    (', "py_test")', ')', 'py_test is not loaded.'),
    ('name = "task"', 'name = "models"', 'models names a target and a folder.'),
    ('name = "train"', 'name = "task"', 'task names 2 targets.'),
    ('["models/task.py"]', '["models/task.py", "models/gone.py"]', 'models/gone.py is listed and does not exist.'),
    ('["models/task.py"]', '[]', 'models/task.py stands in 0 targets.'),
    ('deps = ["@pypi//absl_py"]', 'deps = []', 'task lacks the dep "@pypi//absl_py".'),
    ('deps = [":task"]', 'deps = [":task", "@pypi//six"]', 'train does not need the dep "@pypi//six".'),
    ('py_test(', 'py_library(', 'train_test should be a py_test with main = "tests/models/train_test.py"'),
    ('    main = "tests/models/train_test.py",\n', '', 'train_test should be a py_test with main'),
    ('py_library(', 'py_binary(', 'task is a py_binary with nothing to run.'),
  )
  def test_refuses_a_build(self, old: str, new: str, expected: str) -> None:
    self.assertIn(old, _BUILD)
    complaints = house_rules.check_build(_BUILD.replace(old, new), _FILES)
    self.assertTrue(any(complaint.startswith(expected) for complaint in complaints), complaints)

  def test_a_test_that_runs_nothing_is_refused(self) -> None:
    files = (*_FILES[:2], _source('tests/models/train_test.py', 'from models import train'))
    self.assertLen(house_rules.check_build(_BUILD, files), 1)


if __name__ == '__main__':
  absltest.main()

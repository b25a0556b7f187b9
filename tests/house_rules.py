"""The rules of the house, each a function from files to complaints: no complaint, no breach."""

from collections.abc import Iterable, Mapping, Sequence
import graphlib

from tests import layout

# The one folder that may import a framework; extensions stand for what users write.
_HOME = {'apache_beam': 'pipelines', 'tensorflow_federated': 'tff_tasks'}
_EXTENSIONS = 'examples/extensions/'
# What each folder may import besides itself: downwards only. Folders that are not here may import all.
_BELOW = {
  'common': (),
  'contracts': ('common',),
  'pipelines': ('common', 'contracts'),
  'models': ('common', 'contracts'),
  'reporting': ('common', 'contracts'),
  'tff_tasks': ('common', 'contracts', 'models', 'reporting'),
  'export': ('common', 'contracts', 'models', 'reporting'),
  'examples': ('common', 'contracts', 'models', 'pipelines', 'tff_tasks', 'export'),
}
# Where devices are clients of rounds: the only part of export that needs these.
_SIMULATION = ('export/simulation/', 'export/simulate_devices.py')
# They are read by programs that must start quickly.
_WITHOUT_TENSORFLOW = ('common', 'contracts', 'reporting')
# Beside the programs.
_READ_FLAGS = ('common/cli.py', 'common/flag_checks.py', 'tff_tasks/flags/')

_MAX_FILE_LINES = 300
_MAX_FUNCTION_LINES = 60

# Joined, so that this file does not hold them.
_MACHINE_PATHS = tuple(f'/{name}/' for name in ('work', 'root', 'home'))


def check_imports(sources: Sequence[layout.Source]) -> list[str]:
  """Finds imports from where there is no door."""
  modules = {source.module: source for source in sources}
  complaints = []
  for source in sources:
    imports = source.our_imports(modules)
    for name in imports:
      if modules[name].is_main and source.path != layout.test_path(modules[name].path):
        complaints.append(f'{source.path} imports the program {name}: move what is shared out of it.')
    if source.folder in layout.HOUSE:
      complaints += _check_doors(source, imports)
  return complaints


def _check_doors(source: layout.Source, imports: Iterable[str]) -> list[str]:
  rounds = ('tff_tasks',) if source.path.startswith(_SIMULATION) else ()
  open_doors = (source.folder, *_BELOW[source.folder], *rounds)
  complaints = [
    f'{source.path} imports {name}: {source.folder} may import only {", ".join(open_doors)}.'
    for name in imports
    if name.split('.')[0] not in open_doors
  ]
  complaints += [
    f'{source.path} imports {name}: only {_HOME[name]} does.'
    for name in source.foreign_imports & _HOME.keys()
    if source.folder != _HOME[name] and not source.path.startswith(_EXTENSIONS)
  ]
  if 'tensorflow' in source.foreign_imports and source.folder in _WITHOUT_TENSORFLOW:
    complaints.append(f'{source.path} imports tensorflow: {source.folder} does not.')
  if 'absl.flags' in source.imported_names and not source.is_main and not source.path.startswith(_READ_FLAGS):
    complaints.append(f'{source.path} reads flags: only a program does.')
  return complaints


def check_circles(sources: Iterable[layout.Source]) -> list[str]:
  """Finds files and packages that need each other. A file at the top of a folder of packages is one by itself."""
  house = {source.module: source for source in sources if source.folder in layout.HOUSE and not source.is_package}
  files = {name: source.our_imports(house) - {name} for name, source in house.items()}
  folders: dict[str, set[str]] = {}
  for name, imports in files.items():
    folders.setdefault(_package(name), set()).update(map(_package, imports))
  return [f'{" -> ".join(circle)} is a circle.' for graph in (files, folders) for circle in _find_circles(graph)]


def _package(module: str) -> str:
  """Returns the package of a module of a sub-folder, and the module itself at the top of a folder."""
  return module.rpartition('.')[0] if module.count('.') > 1 else module


def _find_circles(graph: Mapping[str, Iterable[str]]) -> Iterable[Sequence[str]]:
  sorter = graphlib.TopologicalSorter({name: set(below) - {name} for name, below in graph.items()})
  try:
    sorter.prepare()
  except graphlib.CycleError as error:
    yield error.args[1]


def check_mirror(paths: Iterable[str], tests_of_all: Iterable[str], tested_elsewhere: Iterable[str]) -> list[str]:
  """Finds files without a test of their own, tests without a file, and excuses without a cause."""
  ours = {path for path in paths if path.endswith('.py') and path.split('/')[0] in layout.HOUSE}
  tests = {path for path in paths if path.startswith('tests/') and path.endswith('_test.py')}
  expected = {layout.test_path(path): path for path in ours if not path.endswith('/__init__.py')}
  excused = {layout.test_path(path): path for path in tested_elsewhere}
  needless = excused.keys() - (expected.keys() - tests)
  return [
    *(f'{expected[test]} has no {test}.' for test in expected.keys() - tests - excused.keys()),
    *(f'{test} tests no file of that name.' for test in tests - expected.keys() - set(tests_of_all)),
    *(f'{excused[test]} is excused, but is gone or has {test}.' for test in needless),
  ]


def check_sizes(sources: Iterable[layout.Source]) -> list[str]:
  """Finds files and functions that are too long to be one idea."""
  complaints = []
  for source in sources:
    if source.is_generated:
      continue
    lines = len(source.text.splitlines())
    if lines > _MAX_FILE_LINES:
      complaints.append(f'{source.path} has {lines} lines, more than {_MAX_FILE_LINES}.')
    for name, length in source.functions():
      if length > _MAX_FUNCTION_LINES:
        complaints.append(f'{source.path}: {name} has {length} lines, more than {_MAX_FUNCTION_LINES}.')
  return complaints


def check_texts(texts: Mapping[str, str]) -> list[str]:
  """Finds files that name a place on the machine of whoever wrote them."""
  return [f'{path} names {place}.' for path, text in texts.items() for place in _MACHINE_PATHS if place in text]


def check_distributions(sources: Iterable[layout.Source], declared: Iterable[str]) -> list[str]:
  """Finds imports of packages that are only there because something else needs them."""
  imported = {(source.path, layout.distribution(name)) for source in sources for name in source.foreign_imports}
  return [f'{path} imports {name}: declare it in pyproject.toml.' for path, name in imported if name not in declared]


def check_build(text: str, sources: Iterable[layout.Source]) -> list[str]:
  """Finds what BUILD says and the files do not, and what it leaves out."""
  build = layout.parse_build(text)
  by_path = {source.path: source for source in sources}
  modules = {source.module: source for source in by_path.values()}
  owners = {path: f':{target.name}' for target in build.targets for path in target.srcs}
  complaints = _check_listing(build, by_path.keys())
  for target in build.targets:
    files = [by_path[path] for path in target.srcs if path in by_path]
    complaints += _check_rule(target, files)
    found = set(target.deps)
    expected = {dep for file in files for dep in _dependencies(file, modules, owners)} - {f':{target.name}'}
    complaints += [f'{target.name} lacks the dep "{dep}".' for dep in expected - found]
    complaints += [f'{target.name} does not need the dep "{dep}".' for dep in found - expected]
  return complaints


def _check_listing(build: layout.BuildFile, paths: Iterable[str]) -> list[str]:
  names = [target.name for target in build.targets]
  listed = [path for target in build.targets for path in target.srcs]
  return [
    *(f'{rule} is not loaded.' for rule in {target.rule for target in build.targets} - build.loaded),
    *(f'{name} names {names.count(name)} targets.' for name in set(names) if names.count(name) > 1),
    *(f'{name} names a target and a folder.' for name in set(names) & set(layout.OUR_FOLDERS)),
    *(f'{path} stands in {listed.count(path)} targets.' for path in paths if listed.count(path) != 1),
    *(f'{path} is listed and does not exist.' for path in set(listed) - set(paths)),
  ]


def _check_rule(target: layout.Target, files: Sequence[layout.Source]) -> list[str]:
  """A test or a program has a target to itself that runs it: without `main`, Bazel looks for it in the root."""
  runs = [file for file in files if file.is_test or file.is_main]
  if not runs:
    return [] if target.rule == 'py_library' else [f'{target.name} is a {target.rule} with nothing to run.']
  rule = 'py_test' if runs[0].is_test else 'py_binary'
  if (target.rule, target.main, len(files)) != (rule, runs[0].path, 1):
    return [f'{target.name} should be a {rule} with main = "{runs[0].path}" and no other file.']
  if not runs[0].is_run:
    return [f'{runs[0].path} does nothing when it is run: end it with absltest.main().']
  return []


def _dependencies(
  source: layout.Source, modules: Mapping[str, layout.Source], owners: Mapping[str, str]
) -> Iterable[str]:
  for name in source.our_imports(modules):
    yield owners.get(modules[name].path, f'the target of {modules[name].path}')
  for name in source.foreign_imports:
    yield f'@pypi//{layout.distribution(name).replace("-", "_")}'

"""What the layout test looks at: every Python file with what it imports, and every target of BUILD."""

import ast
from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).absolute().parent.parent
HOUSE = ('common', 'contracts', 'examples', 'export', 'models', 'pipelines', 'reporting', 'tff_tasks')
OUR_FOLDERS = (*HOUSE, 'benchmarks', 'tests')

# The distributions that are not named like what one imports from them.
_DISTRIBUTIONS = {
  'PIL': 'pillow',
  'absl': 'absl-py',
  'google': 'protobuf',
  'grpc': 'grpcio',
  'pydp': 'python-dp',
  'yaml': 'pyyaml',
}
_IF_RUN = "__name__ == '__main__'"
_GENERATED = '_py_generated.py'
_MADE_BY_TOOLS = ('.', '__pycache__', 'bazel-', 'build', 'pocketfed.egg-info', 'runs')


@dataclasses.dataclass(frozen=True)
class Source:
  """A Python file of ours: its path from the root, with slashes, and its text."""

  path: str
  text: str

  @functools.cached_property
  def tree(self) -> ast.Module:
    return ast.parse(self.text, self.path)

  @property
  def folder(self) -> str:
    return self.path.split('/')[0]

  @property
  def module(self) -> str:
    """The name it is imported by: a package's is that of its folder."""
    return self.path.removesuffix('.py').removesuffix('/__init__').replace('/', '.')

  @property
  def is_test(self) -> bool:
    return self.path.endswith('_test.py')

  @property
  def is_package(self) -> bool:
    return self.path.endswith('__init__.py')

  @property
  def is_generated(self) -> bool:
    """Whether a program wrote it: such a file may be long."""
    return self.path.endswith(_GENERATED)

  @property
  def is_run(self) -> bool:
    """Whether it does something when it is run."""
    return any(isinstance(node, ast.If) and ast.unparse(node.test) == _IF_RUN for node in self.tree.body)

  @property
  def is_main(self) -> bool:
    """Whether it is a program of its own."""
    return self.is_run and not self.is_test

  @functools.cached_property
  def imported_names(self) -> frozenset[str]:
    """What its import statements name, wherever they stand: `from a import b` names `a.b`."""
    names = set()
    for node in ast.walk(self.tree):
      if isinstance(node, ast.Import):
        names |= {alias.name for alias in node.names}
      elif isinstance(node, ast.ImportFrom):
        names |= {f'{node.module}.{alias.name}' for alias in node.names}
    return frozenset(names)

  def our_imports(self, modules: Mapping[str, 'Source']) -> set[str]:
    """The modules among `modules` that it imports."""
    found = set()
    for name in self.imported_names:
      while name not in modules and '.' in name:
        name = name.rpartition('.')[0]
      if name in modules:
        found.add(name)
    return found

  @property
  def foreign_imports(self) -> set[str]:
    """The top-level packages that it imports which are neither ours nor of Python itself."""
    tops = {name.split('.')[0] for name in self.imported_names}
    return tops - set(OUR_FOLDERS) - sys.stdlib_module_names

  def functions(self) -> Iterator[tuple[str, int]]:
    """Yields the name and the number of lines of each function, nested ones too."""
    for node in ast.walk(self.tree):
      if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
        yield node.name, node.end_lineno - node.lineno + 1


@dataclasses.dataclass(frozen=True)
class Target:
  """One rule of BUILD. An argument that is not a plain value, such as `glob(...)`, reads as `None`."""

  rule: str
  name: str
  srcs: Sequence[str] = ()
  deps: Sequence[str] = ()
  data: Sequence[str] | None = ()
  main: str | None = None


@dataclasses.dataclass(frozen=True)
class BuildFile:
  """What BUILD loads and declares."""

  loaded: frozenset[str]
  targets: Sequence[Target]


def parse_build(text: str) -> BuildFile:
  """Reads a BUILD file, whose syntax is a part of Python's."""
  loaded: set[str] = set()
  targets = []
  known = {field.name for field in dataclasses.fields(Target)}
  for node in ast.parse(text).body:
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
      continue
    call = node.value
    rule = ast.unparse(call.func)
    if rule == 'load':
      loaded |= {ast.literal_eval(argument) for argument in call.args[1:]}
    elif rule.startswith('py_'):
      arguments = {keyword.arg: _literal(keyword.value) for keyword in call.keywords if keyword.arg in known}
      targets.append(Target(rule, **arguments))  # type: ignore[arg-type]
  return BuildFile(frozenset(loaded), targets)


def find_files(root: pathlib.Path = ROOT) -> list[str]:
  """Returns the paths of the files that belong to the project, leaving out what tools made."""
  found = []
  for folder, subfolders, names in os.walk(root):
    subfolders[:] = sorted(name for name in subfolders if name == '.ci' or not name.startswith(_MADE_BY_TOOLS))
    # In a second work tree of the same repository, .git is a file.
    ours = [name for name in sorted(names) if name != '.git']
    found += [(pathlib.Path(folder) / name).relative_to(root).as_posix() for name in ours]
  return found


def read_sources(root: pathlib.Path = ROOT) -> list[Source]:
  """Reads every Python file of the project."""
  return [Source(path, (root / path).read_text()) for path in find_files(root) if path.endswith('.py')]


def test_path(path: str) -> str:
  """Returns where the test of a file stands."""
  return f'tests/{path.removesuffix(".py")}_test.py'


def distribution(package: str) -> str:
  """Returns the name, on the package index, of what provides a top-level package."""
  return _DISTRIBUTIONS.get(package, package.replace('_', '-'))


def _literal(node: ast.expr) -> object:
  try:
    return ast.literal_eval(node)
  except ValueError:
    return None

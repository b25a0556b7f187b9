"""Every command of README.md and docs/ is typed as it stands, with small flags after it; what they name is there."""

import gzip
import json
import os
import pathlib
import random
import re
import subprocess
import sys

from absl.testing import absltest
from absl.testing import parameterized

from tests import documented
from tests import layout
from tests import preloaded

# Appended to what reads, trains or starts workers: flags typed later win.
_SMALL = {
  'pipelines.preprocess': '--override=limits.max_examples_per_client=4 --override=examples.window_length=16',
  'tff_tasks.train': '--total_rounds=2 --clients_per_round=20 --max_examples_per_client=4 --model_size=8 --xla=no',
  '--direct_num_workers': '--direct_num_workers=2',
}
# What stands for something of the reader's own.
_STANDS_FOR = {
  r'^\$JOB': 'python -m pipelines.preprocess --dataset=configs/datasets/shakespeare_characters.toml '
  '--input=examples/shakespeare/utterances.jsonl.gz --output_dir=runs/job',
  r'\bRUN_DIR\b': 'runs/quickstart/run',
  r'\bSHARDS\b': 'runs/quickstart/shards',
  r'\bDIR\b': 'package',
}
# Commands that are typed in another folder.
_ELSEWHERE = {r'sha256sum|python snippets/': 'runs/quickstart/model'}
# Commands that are not typed here, and why.
_NOT_TYPED = {
  r'.*python -m pip install|^pip install': 'changes an environment; setup_test and packaging_test install',
  r'\$JOB --runner=FlinkRunner': 'needs a cluster; flink_test starts one',
  r'\$JOB --runner=(Dataflow|Spark)Runner': 'needs a cluster that no test has; the page says so',
  r'.*\bworker_pool_main\b': 'a server for others; flink_test starts it',
  r'.*--dataset=\.\.\.': 'stands for any job',
  r'\./preprocess\.sh': 'a program of LEAF, which downloads its data',
  r'.* --output_dir=runs/mine/model$': 'the same as for runs/quickstart',
  r'python -m http\.server': 'a server for visitors; page_test serves and visits the page',
  r'python -m export\.check_browser .*--litert_js': 'needs Chromium and LiteRT.js; check_browser_test runs it',
}
# Blocks that are no commands, by their first line, and what they are.
_NO_COMMANDS = {
  r'.*──▶|logs/\*|examples   benchmarks|cohort of clients': 'pictures',
  r'Model      runs/': 'what the quickstart prints',
  r'# \w+\.toml|\[examples\]|\[partition\]': 'declarations; those with a name are written to a file of that name',
  'import glob, json': 'femnist_test runs it',
  'openssl |from cryptography': 'signing_test runs them',
  'from export.metadata': 'describing_test runs it',
  'client,night|import csv': 'a trace; availability_test makes and reads one',
  'client,class': 'a column of classes; capabilities_test reads one',
  '--': 'flags of training, typed below',
}
# Flags that are no program's of ours or of Beam's.
_OTHERS_FLAGS = {
  '--no-deps': 'pip',
  '--sf': 'LEAF',
  '--service_port': "Beam's pool of workers",
  '--bind': 'http.server',
  '--directory': 'http.server',
}
# Folders that paths in the pages begin in.
_BEGINNINGS = ('', *(f'{folder}/' for folder in layout.HOUSE))
_PATH = re.compile(r'[\w.-]+(?:/[\w.-]+)*/[\w.-]+\.(?:py|toml|flags|md|gz)|[a-z_]+(?:/[a-z_]+)+/')
_MADE = ('runs/', 'data/', 'snippets/')  # By programs.


def _programs() -> list[str]:
  return [source.module for source in layout.read_sources() if source.is_main and source.folder in layout.HOUSE]


def _pages() -> dict[str, str]:
  return {page: documented.read(page) for page in documented.PAGES}


def _matching(text: str, patterns: dict[str, str]) -> list[str]:
  return [reason for pattern, reason in patterns.items() if re.match(pattern, text)]


def _is_typed(command: str) -> bool:
  return not command.startswith('make ') and not _matching(command, _NOT_TYPED)


def _complete(command: str) -> str:
  """Returns the command with small flags after it, for files that are there; a program without flags gets --help."""
  for pattern, text in _STANDS_FOR.items():
    command = re.sub(pattern, text, command)
  small = [flags for name, flags in _SMALL.items() if name in command]
  is_named_only = command.split()[0].endswith(('python', 'pocketfed')) and '--' not in command
  return ' '.join([command, *small, *(['--help'] if is_named_only else [])])


class DocsTest(parameterized.TestCase):
  def _make_folder(self) -> pathlib.Path:
    """Returns a folder that looks like a clone of the project, with logs and declarations of the reader's own."""
    folder = pathlib.Path(self.create_tempdir().full_path)
    for name in (*layout.HOUSE, 'configs', 'pyproject.toml'):
      (folder / name).symlink_to(layout.ROOT / name)
    (folder / '.venv').symlink_to(sys.prefix)
    (folder / 'bin').mkdir()
    (folder / 'bin/python').symlink_to(preloaded.python())
    (folder / 'bin/pocketfed').write_text('exec python -m common.command "$@"\n')
    (folder / 'bin/pocketfed').chmod(0o755)
    (folder / 'logs').mkdir()
    for part in range(2):
      with gzip.open(folder / f'logs/{part}.jsonl.gz', 'wt') as file:
        file.writelines(json.dumps(row) + '\n' for row in _rows(part))
    for page, text in _pages().items():
      for block in documented.blocks(page, text):
        if named := re.match(r'# (\w+\.toml)$', block.first_line):
          (folder / named[1]).write_text(block.text + '\n')
    return folder

  def test_every_command_runs(self) -> None:
    folder, typed = self._make_folder(), set[str]()
    for page in documented.PAGES:
      text = documented.read(page)
      blocks = documented.blocks(page, text)
      commands = [command for block in blocks if block.is_commands for command in block.commands]
      flags = [block.text for block in blocks if block.text.startswith('--')]
      preset = 'python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags'
      commands += [f'{preset} --output_dir=runs/extended_{place} {each}' for place, each in enumerate(flags)]
      for command in filter(_is_typed, [*commands, *documented.commands_in_sentences(text)]):
        if command not in typed:  # What two pages say is done once.
          typed.add(command)
          self._type(folder, page, command)
    for made in ('runs/quickstart/model/MODEL_CARD.md', 'runs/mine/run/public/model.npz', 'runs/mine/shards.html'):
      self.assertTrue((folder / made).exists(), made)

  def _type(self, folder: pathlib.Path, page: str, command: str) -> None:
    path = os.pathsep.join([str(folder / 'bin'), str(pathlib.Path(sys.executable).parent), os.environ['PATH']])
    result = subprocess.run(
      ['bash', '-o', 'pipefail', '-c', _complete(command)],
      cwd=folder.joinpath(*_matching(command, _ELSEWHERE)),
      env={**os.environ, 'PATH': path},
      stdin=subprocess.DEVNULL,
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )
    self.assertEqual(result.returncode, 0, f'{page}: {_complete(command)}\n{result.stderr[-3000:]}')

  @parameterized.parameters(*documented.PAGES)
  def test_blocks_are_commands_or_known(self, page: str) -> None:
    for block in documented.blocks(page, documented.read(page)):
      self.assertTrue(block.is_commands or _matching(block.first_line, _NO_COMMANDS), f'{page}: {block.first_line}')

  def test_what_is_listed_is_there(self) -> None:
    blocks = [block for page, text in _pages().items() for block in documented.blocks(page, text)]
    commands = [command for block in blocks if block.is_commands for command in block.commands]
    commands += [command for text in _pages().values() for command in documented.commands_in_sentences(text)]
    for pattern in _NOT_TYPED:
      self.assertTrue(any(re.match(pattern, command) for command in commands), pattern)
    for pattern in _NO_COMMANDS:
      self.assertTrue(any(re.match(pattern, block.first_line) for block in blocks), pattern)

  def test_make_has_the_targets(self) -> None:
    targets = re.findall(r'^([\w-]+):', (layout.ROOT / 'Makefile').read_text(), re.MULTILINE)
    named = [name for text in _pages().values() for name in re.findall(r'(?:`|^ {4})make ([\w-]+)', text, re.MULTILINE)]
    self.assertContainsSubset(named, targets)
    self.assertContainsSubset(['quickstart', 'test', 'setup'], named)

  def test_programs_have_the_flags(self) -> None:
    known = set(_OTHERS_FLAGS)
    for program in _programs():
      text = subprocess.run(
        [sys.executable, '-m', program, '--help'], cwd=layout.ROOT, capture_output=True, text=True, check=True
      ).stdout
      known |= {flag.replace('[no]', '') for flag in re.findall(r'--(?:\[no\])?\w+', text)} | {'--help'}
    listing = 'import argparse; from apache_beam.options import pipeline_options as o; p = []; '
    listing += 'o.PipelineOptions([]).get_all_options(add_extra_args_fn=p.append); print(*p[0]._option_string_actions)'
    beam = subprocess.run([sys.executable, '-c', listing], capture_output=True, text=True, check=True).stdout
    known |= set(beam.split())
    for page, text in _pages().items():
      named = set(re.findall(r'(?<![\w-])--[a-z][\w-]*', text))
      self.assertEmpty(named - known, page)

  @parameterized.parameters(*documented.PAGES)
  def test_paths_are_there(self, page: str) -> None:
    text = documented.read(page)
    for link in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', text):
      self.assertTrue((layout.ROOT / page).parent.joinpath(link).exists(), f'{page}: {link}')
    for path in (path for code in documented.codes(text) for path in re.split(r'[\s=\[\](),]', code)):
      if _PATH.fullmatch(path) and not path.startswith(_MADE):
        self.assertTrue(any((layout.ROOT / f'{start}{path}').exists() for start in _BEGINNINGS), f'{page}: {path}')


class DocumentedTest(absltest.TestCase):
  def test_finds_commands(self) -> None:
    text = 'Type\n\n    make x  # why\n\n    python -m a \\\n      --b\n\nor\n\n'
    text += '```sh\npip c\n```\n\nand `make d`, not `e`.\n'
    found = documented.blocks('page', text)
    self.assertEqual([block.commands for block in found], [['make x', 'python -m a --b'], ['pip c']])
    self.assertEqual(documented.commands_in_sentences(text), ['make d'])

  def test_completes_commands(self) -> None:
    self.assertEqual(_complete('python -m pipelines.inspect'), 'python -m pipelines.inspect --help')
    self.assertEndsWith(_complete('python -m tff_tasks.train --a=1'), ' --xla=no')
    self.assertEndsWith(
      _complete('$JOB --direct_num_workers=8'), f'=8 {_SMALL["pipelines.preprocess"]} --direct_num_workers=2'
    )


def _rows(part: int) -> list[dict[str, object]]:
  """Returns the messages of a part of 60 accounts."""
  rng = random.Random(part)
  rows = []
  for account in range(30 * part, 30 * part + 30):
    for message in range(6):
      words = ' '.join(rng.choice(('see', 'you', 'at', 'eight', 'nine', 'home')) for _ in range(12))
      rows.append({'account': f'u-{account}', 'time': 1_700_000_000 + message, 'message': words})
  return rows


if __name__ == '__main__':
  absltest.main()

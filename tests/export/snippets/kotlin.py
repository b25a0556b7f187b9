"""Compiles and runs the Kotlin snippets, with a compiler and LiteRT's classes from Maven's repository."""

from collections.abc import Iterable, Mapping
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any
import zipfile

from absl.testing import absltest

# Without LiteRT's own group, which is in another repository: the classes are the same.
_ARTIFACTS = (
  ('org.jetbrains.kotlin', 'kotlin-compiler-embeddable', '1.9.25', 'jar'),
  ('org.tensorflow', 'tensorflow-lite', '2.16.1', 'aar'),
  ('org.tensorflow', 'tensorflow-lite-api', '2.16.1', 'aar'),
  ('org.json', 'json', '20240303', 'jar'),
)
# It asks for a jar of its API, where there is none: the archive of it is in the list.
_NO_OTHERS = (
  '<exclusions><exclusion><groupId>org.tensorflow</groupId><artifactId>*</artifactId></exclusion></exclusions>'
)
# A machine that runs other tests as well is slow.
_SECONDS = 600
_FILES = ('Predictor.kt', 'Trainer.kt')
_COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'
# In place of the class that needs Android: what makes examples can run without it.
_INTERPRETER = """
package org.tensorflow.lite

class Interpreter(file: java.io.File) : AutoCloseable {
  init { require(file.exists()) { "Expected the file $file, found none." } }
  fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, key: String) {
    require(inputs.isNotEmpty()) { "Input error: Inputs should not be null or empty." }
  }
  override fun close() {}
}
"""
_MAIN = """
import java.io.File
import org.json.JSONArray
import org.json.JSONObject

@Suppress("UNCHECKED_CAST")
fun main() {{
  val request = JSONObject(readln())
  val made = JSONObject()
{calls}
  println(made)
}}
"""
_CALL = """
  {kind}.Predictor(File(request.getJSONObject("{kind}").getString("folder"))).use {{
    val given = request.getJSONObject("{kind}").getJSONArray("given").toList()
    val wrong = request.getJSONObject("{kind}").getJSONArray("wrong").toList()[0]
    val found = try {{ it.predict(wrong as {example}) }} catch (refused: IllegalArgumentException) {{ refused.message }}
    made.put("{kind}", JSONObject().put("features", JSONArray({make})).put("wrong", found))
  }}
"""


class Unavailable(Exception):
  """The tools are not here, or the repository cannot be reached."""


def make_features(
  folders: Mapping[str, str], given: Mapping[str, Any], wrong: Mapping[str, Any], is_sequence: Mapping[str, bool]
) -> dict[str, Any]:
  """Returns the `features` that snippets of model folders make, and what they answer to what is `wrong`, by kind.

  Args:
    folders: The model folders.
    given: What each is given.
    wrong: An empty or wrong example for each.
    is_sequence: Whether that is one example, or several.

  Raises:
    Unavailable: If Maven, Java or the repository is missing.
    subprocess.CalledProcessError: If something does not compile or run.
  """
  jars = _fetch()
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    for kind, path in folders.items():
      for name in _FILES:
        code = pathlib.Path(path, 'snippets', name).read_text()
        (root / f'{kind}{name}').write_text(f'package {kind}\n\n{code}')
    calls = (_make_call(kind, is_sequence[kind]) for kind in folders)
    (root / 'Main.kt').write_text(_MAIN.format(calls=''.join(calls)))
    _compile(jars, [*root.glob('*.kt')], root / 'classes')
    (root / 'Interpreter.kt').write_text(_INTERPRETER)
    _compile(jars, [root / 'Interpreter.kt'], root / 'stub')
    request = {kind: {'folder': path, 'given': given[kind], 'wrong': [wrong[kind]]} for kind, path in folders.items()}
    path = os.pathsep.join([str(root / 'stub'), str(root / 'classes'), f'{jars}/*'])
    ran = subprocess.run(
      ['java', '-cp', path, 'MainKt'],
      input=json.dumps(request),
      stdout=subprocess.PIPE,
      text=True,
      check=True,
      timeout=_SECONDS,
    )
  return json.loads(ran.stdout)


def _make_call(kind: str, is_sequence: bool) -> str:
  one = 'it.toCodes(it.cut(given as List<String>))'
  several = {'table': 'Map<String, Any?>', 'windows': 'List<Map<String, Any?>>', 'image': 'List<List<Int>>'}
  example = 'List<String>' if is_sequence else several[kind]
  make = one if is_sequence else f'given.map {{ each -> it.makeFeatures(each as {example}) }}'
  return _CALL.format(kind=kind, make=make, example=example)


def _compile(jars: str, sources: Iterable[pathlib.Path], output: pathlib.Path) -> None:
  compiler = 'org.jetbrains.kotlin.cli.jvm.K2JVMCompiler'
  path = os.pathsep.join(os.fspath(jar) for jar in pathlib.Path(jars).glob('*.jar'))
  command = [
    'java',
    '-cp',
    f'{jars}/*',
    compiler,
    '-no-stdlib',
    '-no-reflect',
    '-cp',
    path,
    '-d',
    str(output),
    *map(str, sources),
  ]
  subprocess.run(command, check=True, timeout=_SECONDS)


def _fetch() -> str:
  """Returns a folder with all jars, which are fetched once a process."""
  if not shutil.which('mvn') or not shutil.which('java'):
    raise Unavailable('Expected mvn and java, found none: install Maven and a JDK.')
  folder = pathlib.Path(tempfile.mkdtemp(dir=absltest.get_default_test_tmpdir()))
  dependencies = ''.join(
    f'<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId><version>{version}</version>'
    f'<type>{kind}</type>{_NO_OTHERS}</dependency>'
    for group, name, version, kind in _ARTIFACTS
  )
  (folder / 'pom.xml').write_text(
    '<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId><artifactId>kotlin</artifactId>'
    f'<version>1</version><dependencies>{dependencies}</dependencies></project>'
  )
  command = ['mvn', '--batch-mode', '--quiet', _COPY, f'-DoutputDirectory={folder}']
  try:
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=_SECONDS)
  except subprocess.TimeoutExpired as error:
    raise Unavailable(
      f'Expected the Kotlin compiler from Maven within {_SECONDS} s, found none: connect to its repository.'
    ) from error
  if fetched.returncode:
    raise Unavailable(
      f'Expected the Kotlin compiler from Maven, found {fetched.stdout[-400:]}: connect to its repository.'
    )
  for archive in folder.glob('*.aar'):
    with zipfile.ZipFile(archive) as file:
      archive.with_suffix('.jar').write_bytes(file.read('classes.jar'))
  return os.fspath(folder)

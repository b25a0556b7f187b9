"""The pipeline that counts the labels of all rows, before any of them can be given to a simulated client."""

import json
from typing import NamedTuple

import apache_beam as beam
from apache_beam.options import pipeline_options

from pipelines import transforms
from pipelines.declarations import declaration as declarations
from pipelines.execution import running
from pipelines.execution import storage
from pipelines.limits import simulated_clients
from pipelines.rows import reports

_COUNTS_NAME, _REPORT_NAME = 'labels.json', 'labels-report.json'


class Counted(NamedTuple):
  """What was found.

  Attributes:
    labels: By the name of each block of rows, how many of them have each label, a place among the classes.
    report: What became of the rows.
  """

  labels: dict[str, list[int]]
  report: reports.Report


class CountLabels(beam.PTransform):
  """`NamedRows` -> a file with the number of rows of each label, by the name of the rows.

  Args:
    label: The column with the labels; None if they do not matter.
    path: Of the file.
  """

  def __init__(self, label: str | None, path: str):
    super().__init__()
    self._label = label
    self._path = path

  def expand(self, input_or_inputs: beam.PCollection[transforms.NamedRows]) -> beam.PCollection[None]:
    return (
      input_or_inputs
      | 'Count' >> beam.Map(_count, self._label)
      | 'Gather' >> beam.CombineGlobally(beam.combiners.ToDictCombineFn())
      | 'WriteCounts' >> beam.Map(storage.write_json, self._path)
    )


def count(
  read: transforms.ReadRows,
  declaration: declarations.Declaration,
  folder: str,
  options: pipeline_options.PipelineOptions,
) -> Counted:
  """Counts the labels of the rows that can be used.

  Args:
    read: Reads the rows.
    declaration: What they hold.
    folder: All workers see it.
    options: Where it runs.
  """
  counts_path, report_path = (storage.join(storage.absolute(folder), name) for name in (_COUNTS_NAME, _REPORT_NAME))
  pipeline = beam.Pipeline(options=options)
  rows = pipeline | 'ReadRows' >> read
  rows.elements | 'CountLabels' >> CountLabels(declaration.split_by, counts_path)
  rows.reports | 'WriteReport' >> transforms.WriteReport(report_path)
  running.run(pipeline)
  labels, report = (json.loads(storage.read(path)) for path in (counts_path, report_path))
  return Counted(labels, reports.Report.from_json(report))


def _count(rows: transforms.NamedRows, label: str | None) -> tuple[str, list[int]]:
  return rows.name, simulated_clients.count_labels(rows.table, label)

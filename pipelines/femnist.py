"""The source of the handwriting task: LEAF's FEMNIST, characters by the person who wrote them, from its one file."""

from collections.abc import Iterator
import io
import zipfile
import zlib

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipelines import featurizers
from pipelines import reports
from pipelines import sources

FILE_NAME = 'femnist_leaf.npz'

_PARTS = (('train', 'writer_names'), ('test', 'writer_names'), ('extra', 'extra_writer_names'))
_IMAGES_PER_TABLE = 2048


class ReadFemnist(beam.PTransform):
  """Reads LEAF's FEMNIST (`femnist_leaf.npz`) into rows of (client_id, order, image, character).

  Takes the complete writers, their training images before their test images, and the writers that the file calls
  extra. LEAF's own division of a writer's images is not used: it has images on both sides.
  """

  def __init__(self, path: str):
    super().__init__()
    self._path = path

  def expand(self, input_or_inputs: beam.pvalue.PBegin) -> sources.Rows:
    rows = (
        input_or_inputs
        | 'Paths' >> beam.Create([self._path])
        | 'ReadArrays' >> beam.ParDo(_ReadFemnist()).with_outputs(sources.REPORTS, main='rows')
    )
    return sources.Rows(rows['rows'], rows[sources.REPORTS])


class _ReadFemnist(beam.DoFn):
  """A path -> tables of images."""

  def process(self, element: str) -> Iterator[pa.Table | sources.ReportOutput]:
    try:
      with sources.open_raw(element) as file, np.load(io.BytesIO(file.read()), allow_pickle=False) as arrays:
        for table in _femnist_tables(arrays):
          report = reports.Report()
          report.count(reports.READ, number=table.num_rows)
          yield table
          yield beam.pvalue.TaggedOutput(sources.REPORTS, report)
    except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
      problem = f'Expected the arrays of LEAF FEMNIST, found {element} damaged ({error}): get a whole copy of it.'
      yield beam.pvalue.TaggedOutput(sources.REPORTS, reports.Report(problems=[problem]))


def _femnist_tables(arrays: np.lib.npyio.NpzFile) -> Iterator[pa.Table]:
  order = 0
  for part, names in _PARTS:
    images, labels, writers = (arrays[f'{part}_{name}'] for name in ('images', 'labels', 'writer'))
    client_ids = arrays[names][writers]
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28) or not len(images) == len(labels) == len(client_ids):
      raise ValueError(f'{part} images of {images.dtype} {images.shape}')
    if labels.max(initial=0) >= len(featurizers.Handwriting.schema.classes):
      raise ValueError(f'{part} label {labels.max()}')
    for start in range(0, len(images), _IMAGES_PER_TABLE):
      stop = min(start + _IMAGES_PER_TABLE, len(images))
      columns = [
          client_ids[start:stop],
          np.arange(order + start, order + stop),
          [image.tobytes() for image in images[start:stop]],
          labels[start:stop],
      ]
      yield sources.make_table(columns, featurizers.Handwriting.row_schema)
    order += len(images)

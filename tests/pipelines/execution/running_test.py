from absl.testing import absltest
from absl.testing import parameterized
import apache_beam as beam
import pyarrow as pa

from pipelines.execution import running


def _fail(error: Exception) -> None:
  raise error


class _Result:
  """A job elsewhere, at which its starter is interrupted."""

  def __init__(self) -> None:
    self.is_cancelled = False

  def wait_until_finish(self) -> None:
    raise KeyboardInterrupt

  def cancel(self) -> None:
    self.is_cancelled = True
    raise NotImplementedError('as some runners')


class _Pipeline:
  def __init__(self) -> None:
    self.result = _Result()

  def run(self) -> _Result:
    return self.result


class RunTest(absltest.TestCase):
  def test_a_mistake_of_ours_in_a_worker_is_not_taken_for_one_of_the_user(self) -> None:
    for error in (ValueError('broken'), OSError('broken')):
      pipeline = beam.Pipeline(options=running.parse_flags([]))
      pipeline | beam.Create([error]) | beam.Map(_fail)
      with self.assertRaisesRegex(RuntimeError, 'A worker failed') as caught:
        running.run(pipeline)
      self.assertIn('broken', str(caught.exception.__cause__))

  def test_too_little_memory_in_a_worker_is_what_it_is(self) -> None:
    for error in (MemoryError(), MemoryError('cannot allocate'), pa.ArrowMemoryError('malloc of size 9 failed')):
      pipeline = beam.Pipeline(options=running.parse_flags([]))
      pipeline | beam.Create([error]) | beam.Map(_fail)
      with self.assertRaisesRegex(MemoryError, str(error) or 'MemoryError in a worker'):
        running.run(pipeline)

  def test_what_only_speaks_of_memory_is_not_taken_for_it(self) -> None:
    pipeline = beam.Pipeline(options=running.parse_flags([]))
    pipeline | beam.Create([KeyError('a MemoryError')]) | beam.Map(_fail)
    with self.assertRaises(KeyError):
      running.run(pipeline)

  def test_an_interrupted_job_is_cancelled(self) -> None:
    pipeline = _Pipeline()
    with self.assertRaises(KeyboardInterrupt):
      running.run(pipeline)
    self.assertTrue(pipeline.result.is_cancelled)


class ParseFlagsTest(parameterized.TestCase):
  def test_beam_gets_its_flags(self) -> None:
    options = running.parse_flags(['--direct_num_workers', '2', '--runner=FlinkRunner']).get_all_options()
    self.assertEqual((options['direct_num_workers'], options['runner']), (2, 'FlinkRunner'))

  @parameterized.parameters('--window_lenth=3', 'positional', '--direct_num_workers=many')
  def test_what_beam_does_not_know_is_an_error(self, argument: str) -> None:
    with self.assertRaisesRegex(ValueError, 'Expected .* found'):
      running.parse_flags([argument])


if __name__ == '__main__':
  absltest.main()

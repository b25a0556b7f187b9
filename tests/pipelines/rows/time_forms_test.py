"""Tests of declared forms of times: they read what Python's `strptime` reads."""

import datetime

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import pyarrow as pa

from pipelines.rows import time_forms
from pipelines.rows import times

_FORMATS = (
  '%d/%m/%Y %H:%M',
  '%m/%d/%Y %I:%M %p',
  '%Y%m%d',
  '%Y%m%d%H%M%S',
  '%d.%m.%y %H.%M',
  '%b %d %Y',
  '%A, %d %B %Y (%H)',
  '%Y-%m-%dT%H:%M:%S.%f%z',
  '%d %b %y %H:%M:%S',
  '100%% %Y',
  '%Y',
  '%m+%Y?',
)


def _read(text: str, order_format: str) -> datetime.datetime | None:
  found = times.parse(pa.array([text, 'x'], pa.large_string()), time_forms.compile_format(order_format))
  return found.values[0].as_py() and found.values.cast(pa.timestamp('us'))[0].as_py()


class CompileFormatTest(parameterized.TestCase):
  @hypothesis.settings(deadline=None)
  @hypothesis.given(
    strategies.datetimes(datetime.datetime(1971, 1, 1), datetime.datetime(2060, 1, 1)),
    strategies.sampled_from(_FORMATS),
  )
  def test_reads_what_strptime_reads(self, time: datetime.datetime, order_format: str) -> None:
    text = time.replace(tzinfo=datetime.UTC).strftime(order_format)
    expected = datetime.datetime.strptime(text, order_format)
    if expected.year == 1900:
      expected = expected.replace(year=1970)
    self.assertEqual(_read(text, order_format), expected.replace(tzinfo=None))

  @parameterized.parameters(
    ('%d/%m/%Y', '05/20/2015'),
    ('%d/%m/%Y', '20/05/2015 10:00'),
    ('%d/%m/%Y', '2015-05-20'),
    ('%Y.%m', '2015x05'),
    ('%d/%m/%Y', '31/02/2015'),
  )
  def test_refuses_other_forms(self, order_format: str, text: str) -> None:
    self.assertIsNone(_read(text, order_format))

  def test_an_ambiguous_date_is_what_the_format_says(self) -> None:
    self.assertEqual(_read('05/06/2015', '%d/%m/%Y'), datetime.datetime(2015, 6, 5))
    self.assertEqual(_read('05/06/2015', '%m/%d/%Y'), datetime.datetime(2015, 5, 6))

  @parameterized.parameters(
    ('%Y-%q', 'found %q: choose among %Y %y %m', '%Y-%m', '2015-06'),
    ('%Y %', 'found %: choose among .* %%', '%Y %%', '2015 %'),
    ('%m', 'a year in .*: write %Y or %y where it stands', '%m %Y', '06 2015'),
    ('', 'a year in .*: write %Y or %y where it stands', '%y', '15'),
    ('%Y %Y', 'each part of a time once in .*: remove one', '%Y', '2015'),
    ('%H %I %Y', 'each part of a time once in .*: remove one', '%H %Y', '10 2015'),
  )
  def test_refuses_a_format(self, order_format: str, message: str, corrected: str, text: str) -> None:
    with self.assertRaisesRegex(ValueError, message):
      time_forms.compile_format(order_format)
    self.assertEqual(_read(text, corrected), datetime.datetime.strptime(text, corrected))


if __name__ == '__main__':
  absltest.main()

"""Tests of reading times: each known form, and that a time is read alike whatever stands beside it."""

import datetime
from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import hypothesis
from hypothesis import strategies
import pyarrow as pa

from pipelines.rows import times

_FORMS = (
  '%Y-%m-%dT%H:%M:%S',
  '%Y-%m-%d %H:%M:%S UTC',
  '%Y-%m-%d %H:%M:%S +0000',
  '%Y/%m/%d %H:%M:%S',
  '%d.%m.%Y %H:%M:%S',
  '[%d/%b/%Y:%H:%M:%S +0000]',
  '%a, %d %b %Y %H:%M:%S GMT',
  '%a %b %d %H:%M:%S %Y',
  '%a %b %d %H:%M:%S +0000 %Y',
  '%B %d, %Y %I:%M:%S %p',
  '%d-%b-%Y %H:%M:%S',
  '%Y-%m-%d %H:%M:%S.000',
  '%Y%m%dT%H%M%SZ',
  '%s',
  '%s000',
  '%s000000',
  '%G-W%V-%uT%H:%M:%S',
)


def _read(*texts: str | None) -> list[str | None]:
  """Returns the times as ISO 8601, None where there is none."""
  found = times.parse(pa.array(texts, pa.large_string()))
  moments = found.values.cast(pa.timestamp('us')).to_pylist()
  return [
    'ambiguous' if ambiguous else moment and moment.isoformat()
    for moment, ambiguous in zip(moments, found.ambiguous.tolist(), strict=True)
  ]


class ParseTest(parameterized.TestCase):
  def test_microseconds_beyond_what_a_double_holds(self) -> None:
    texts = ['9007199254740993', '-9007199254740993', '9007199254740993.0', '9999999999999999999']
    found = times.parse(pa.array(texts, pa.large_string())).values.to_pylist()
    self.assertEqual(found, [2**53 + 1, -(2**53) - 1, 2**53 + 1, 9999999999999999])

  @parameterized.parameters(
    '2015-05-20 21:34:02 UTC',
    '2015-05-20 21:34:02.000 UTC',
    '2015-05-20T23:34:02+02:00[Europe/Berlin]',
    '2015-05-20 23:34:02 Europe/Berlin',
    '2015-05-20 23:34:02 CEST',
    '2015-05-20 22:34:02 CET',
    '2015-05-20 21:34:02,000',
    ' 2015/05/20 21:34:02 ',
    '2015-5-20 9:34:02 pm',
    '20150520T213402Z',
    '1432157642',
    '1432157642000',
    '1432157642000000',
    '1432157642000000000',
    '1432157642.0',
    '1.432157642E9',
    '05/20/2015 9:34:02 PM',
    '5/20/2015, 9:34:02 p.m.',
    '20.05.2015 21:34:02',
    '20/05/2015 21:34:02',
    '20-05-2015 21:34:02',
    '[20/May/2015:23:34:02 +0200]',
    '20/May/2015:21:34:02 +0000',
    'Wed, 20 May 2015 21:34:02 +0000',
    'Wed, 20 May 2015 17:34:02 EDT (a comment)',
    'Wed May 20 21:34:02 2015',
    'Wed May 20 23:34:02 CEST 2015',
    'Wed May 20 21:34:02 +0000 2015',
    'Wed May 20 2015 23:34:02 GMT+0200 (Central European Summer Time)',
    'May 20, 2015 at 9:34:02 PM',
    '2015-W21-3T21:34:02',
  )
  def test_forms_of_one_time(self, text: str) -> None:
    self.assertEqual(_read(text, 'x', None), ['2015-05-20T21:34:02', None, None])

  @parameterized.parameters(
    ('05.06.2015', '2015-06-05T00:00:00'),
    ('5/5/2015', '2015-05-05T00:00:00'),
    ('12 Sept 2015', '2015-09-12T00:00:00'),
    ('2015-05-20 12:00 AM', '2015-05-20T00:00:00'),
    ('2015-05-20 12:30 PM', '2015-05-20T12:30:00'),
    ('2015-05-20 1:00:00.123456789', '2015-05-20T01:00:00.123456'),
    ('-1.5', '1969-12-31T23:59:58.500000'),
    ('0', '1970-01-01T00:00:00'),
    ('2016-02-29 05:00', '2016-02-29T05:00:00'),
    # The clock shows it twice: the first time is meant.
    ('2015-10-25 02:30:00 Europe/Berlin', '2015-10-25T00:30:00'),
  )
  def test_reads(self, text: str, expected: str) -> None:
    self.assertEqual(_read(text, 'x'), [expected, None])

  @parameterized.parameters(
    '05/06/2015', '05-06-2015 10:00', '5/6/2015 9:34 PM', '20150520', '20150520.0', '201505202134', '20150520213402'
  )
  def test_does_not_guess(self, text: str) -> None:
    self.assertEqual(_read(text, 'x'), ['ambiguous', None])

  @parameterized.parameters(
    '',
    'yesterday',
    '2015-02-30',
    '31/02/2015',
    '2015-13-01',
    '13/13/2015',
    '2015-05-20 24:00',
    '20 Mai 2015',
    '2015-05-20 13:00 PM',
    '2015-05-20 0:00 AM',
    '2015-05-20 10:60',
    '2015-05-20 10:00 IST',
    '0/0/2015',
    '1e999',
    '2015-05-20 10:00 Europe/Nowhere',
    '2015-05-20 10:00 ../etc/passwd',
    '99999999999999999999',
    '0000-01-01 x',
  )
  def test_refuses(self, text: str) -> None:
    self.assertEqual(_read(text, '2015-05-20'), [None, '2015-05-20T00:00:00'])

  @hypothesis.settings(deadline=None)
  @hypothesis.given(
    strategies.lists(
      strategies.tuples(
        strategies.datetimes(datetime.datetime(1977, 1, 1), datetime.datetime(2100, 1, 1)),
        strategies.sampled_from(_FORMS),
      ),
      min_size=1,
      max_size=6,
    )
  )
  def test_a_time_is_read_as_it_is_written_whatever_its_neighbors(
    self, written: list[tuple[datetime.datetime, str]]
  ) -> None:
    seconds = [time.replace(microsecond=0, tzinfo=datetime.UTC) for time, _ in written]
    texts = [
      time.strftime(form.replace('%s', str(int(time.timestamp()))))
      for time, (_, form) in zip(seconds, written, strict=True)
    ]
    expected = [time.replace(tzinfo=None).isoformat() for time in seconds]
    self.assertEqual(_read(*texts, 'x'), [*expected, None])
    self.assertEqual([_read(text)[0] for text in texts], expected)

  @hypothesis.settings(deadline=None)
  @hypothesis.given(strategies.lists(strategies.text(alphabet='0123456789-+:/TZ. aAmMyPUC', max_size=24), max_size=5))
  def test_any_text_is_read_or_refused_alike_whatever_its_neighbors(self, texts: list[str]) -> None:
    self.assertEqual(_read(*texts), [_read(text)[0] for text in texts])

  @parameterized.parameters(*_FORMS)
  def test_few_days_with_many_clocks(self, form: str) -> None:
    moments = [datetime.datetime(2015, 5, 30) + datetime.timedelta(seconds=997 * place) for place in range(300)]
    seconds = [int(time.replace(tzinfo=datetime.UTC).timestamp()) for time in moments]
    texts = [time.strftime(form.replace('%s', str(since))) for time, since in zip(moments, seconds, strict=True)]
    texts += ['2015-05-20 24:00:00', '2015-05-20 23:60:00']
    self.assertEqual(_read(*texts), [*(time.isoformat() for time in moments), None, None])

  def test_days_of_many_clocks_may_be_ambiguous_or_in_a_zone_with_summer_time(self) -> None:
    clocks = [f'{place // 60:02}:{place % 60:02}:07' for place in range(90)]
    self.assertEqual(set(_read(*(f'05/06/2015 {clock}' for clock in clocks))), {'ambiguous'})
    summer = _read(*(f'2015-03-29 {clock} Europe/Berlin' for clock in ('00:00:00', '01:59:59', '04:00:00') * 9))
    self.assertEqual([time and time[8:] for time in summer], ['28T23:00:00', '29T00:59:59', '29T02:00:00'] * 9)

  def test_the_usual_forms_are_not_read_one_by_one(self) -> None:
    texts = [datetime.datetime(2015, 5, 20, 21).strftime(form) for form in _FORMS[:-4]]
    with mock.patch.object(times, '_read_other', side_effect=AssertionError):
      self.assertNotIn(None, _read(*texts))


if __name__ == '__main__':
  absltest.main()

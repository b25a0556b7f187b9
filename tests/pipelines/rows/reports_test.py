"""Tests of adding up what the steps report."""

import json

from absl.testing import absltest

from pipelines.rows import reports


def _report(**numbers: int) -> reports.Report:
  report = reports.Report(files={f'file{number}': {'bytes': number} for number in numbers.values()})
  for reason, number in numbers.items():
    report.count(reports.QUARANTINED, reason, number)
  return report


class ReportsTest(absltest.TestCase):
  def test_counts_add_up_by_kind_and_reason(self) -> None:
    report = reports.Report()
    report.count(reports.READ, number=5)
    report.count(reports.QUARANTINED, 'not_json')
    report.count(reports.QUARANTINED, 'not_json', 2)
    report.count(reports.QUARANTINED, 'no_text')
    self.assertEqual(report.total(reports.READ), 5)
    self.assertEqual(report.reasons(reports.QUARANTINED), {'no_text': 1, 'not_json': 3})
    self.assertEqual(report.total(reports.QUARANTINED), 4)

  def test_json_keeps_counts_and_problems(self) -> None:
    report = _report(a=1, b=2)
    report.problems += ['z', 'y']
    written = json.loads(json.dumps(report.to_json()))
    self.assertEqual(reports.Report.from_json(written), reports.Report(report.counts, problems=['y', 'z']))

  def test_a_count_of_zero_leaves_no_trace(self) -> None:
    report = reports.Report()
    report.count(reports.BOUNDED, 'too_little_data', 0)
    self.assertEqual(report.counts, {})

  def test_merging_is_the_same_in_any_grouping_and_changes_no_part(self) -> None:
    parts = [_report(a=1), _report(b=2), _report(a=3)]
    merge = reports.MergeReports()
    one_by_one = merge.create_accumulator()
    for part in parts:
      one_by_one = merge.add_input(one_by_one, part)
    grouped = merge.merge_accumulators([merge.add_input(merge.create_accumulator(), part) for part in parts])
    self.assertEqual(merge.extract_output(one_by_one), merge.extract_output(grouped))
    self.assertEqual(grouped.reasons(reports.QUARANTINED), {'a': 4, 'b': 2})
    self.assertCountEqual(grouped.files, ['file1', 'file2', 'file3'])
    self.assertEqual(parts[0], _report(a=1))


if __name__ == '__main__':
  absltest.main()

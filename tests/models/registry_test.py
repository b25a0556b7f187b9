"""Tests that tasks are found by the name that a schema asks for."""

from absl.testing import absltest
from absl.testing import parameterized

from models import registry
from models import task
from models.tasks import classification
from models.tasks import handwriting
from models.tasks import next_character
from models.tasks import next_item
from models.tasks import next_word


class RegistryTest(parameterized.TestCase):
  @parameterized.parameters(
      ('next_character', next_character.TASK),
      ('next_word', next_word.TASK),
      ('next_item', next_item.TASK),
      ('handwriting', handwriting.TASK),
      ('classification', classification.TASK),
  )
  def test_finds_a_task(self, name: str, expected: task.Task) -> None:
    self.assertIs(registry.get_task(name), expected)
    self.assertEqual(expected.name, name)

  @parameterized.parameters('', 'Handwriting', 'activity')
  def test_says_which_there_are(self, name: str) -> None:
    known = 'classification, handwriting, next_character, next_item, next_word'
    with self.assertRaisesRegex(ValueError, f'^Expected a task among {known}, found {name!r}.$'):
      registry.get_task(name)


if __name__ == '__main__':
  absltest.main()

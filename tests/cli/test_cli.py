"""Help whose examples work, and tables of rows."""

import re
import shlex

import pytest

from sarlab.cli import EPILOG, VERBS, build_parser, format_table, main


def examples(text):
    """Commands of a help text, without the remarks after them."""
    lines = re.findall(r"^  (?:\w+=\S+ )?sarlab (.+)$", text, re.MULTILINE)
    return [shlex.split(line.split("   ")[0]) for line in lines]


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_a_verb_are_commands(verb, capsys):
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    text = capsys.readouterr().out.partition("\n\nexamples:\n")[2]
    assert verb in [words[0] for words in examples(text)]
    for words in examples(text):
        assert callable(build_parser(words).parse_args(words).run), words


def test_the_examples_of_the_command_line_are_commands():
    assert len(examples(EPILOG)) == 4
    for words in examples(EPILOG):
        assert callable(build_parser(words).parse_args(words).run), words


def test_a_table_has_text_to_the_left_numbers_to_the_right_and_dashes():
    rows = [{"a": "x", "b": 7, "c": ["VV", "VH"], "d": 0.5}, {"a": "", "b": 1234, "c": [], "d": float("nan")}]
    assert format_table(rows).splitlines() == ["a     b  c        d", "x     7  VV+VH  0.5", "–  1234  –        –"]
    assert format_table(rows, "b", "missing").splitlines() == ["   b  missing", "   7  –", "1234  –"]

"""Calls of sparkvault that no test can run as they stand are such that the program would take them."""

from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup, TyperOption

from sparkvault.cli.root import app
from sparkvault.cli.submit_command import SparkSubmitCommand
from sparkvault.spark_submit import SWITCHES, VALUE_FLAGS
from tests.docs.commands import Call, console_calls, inline_calls


def verb_of(call: Call) -> tuple[typer.Context, list[str]]:
    """The verb's context, and the words after it."""
    program = typer.main.get_command(app)
    context, words = typer.Context(program, info_name="sparkvault", **program.context_settings), list(call.words)
    while isinstance(group := context.command, TyperGroup) and words and not words[0].startswith("-"):
        name = words.pop(0)
        command = group.get_command(context, name)
        assert command is not None, f"{call}: there is no verb {name}"
        context = typer.Context(command, info_name=name, parent=context, **command.context_settings)
    return context, words


@pytest.mark.parametrize("call", console_calls(), ids=str)
def test_the_program_takes_each_call_of_a_console_block(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, words = verb_of(call)
    monkeypatch.chdir(tmp_path)
    for word in words:
        if "/" not in word and Path(word).suffix:  # a file of the reader's
            (tmp_path / word).touch()
    # Parses, checks types and calls nothing: only invoking the context would.
    context.command.parse_args(context, ["1" if word == "N" else word for word in words])


@pytest.mark.parametrize("call", inline_calls(), ids=str)
def test_each_call_in_the_text_names_a_verb_and_options_that_there_are(call: Call) -> None:
    context, words = verb_of(call)
    options = [each for each in context.command.get_params(context) if isinstance(each, TyperOption)]
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    if isinstance(context.command, SparkSubmitCommand):
        known |= VALUE_FLAGS | SWITCHES
    given = {word.strip("[]").partition("=")[0] for word in words if word.lstrip("[").startswith("-")}
    assert given <= known, f"{call}: there is no {', '.join(sorted(given - known))}"


def test_calls_are_found_behind_prompts_keywords_and_variables() -> None:
    calls = {(call.file.name, call.words[0]) for call in console_calls()}
    assert {("several-hosts.md", "status"), ("enclave.md", "grant"), ("yarn.md", "submit")} <= calls
    assert not any("$" in word for call in console_calls() for word in call.words)

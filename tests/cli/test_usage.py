"""Wrong words on the command line: one sentence, with what, where, and what next."""

from __future__ import annotations

import pytest

from godwit.main.godwit import COMMANDS, main


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("nonsense", "no such command 'nonsense'; see `godwit --help`"),
        ("--foo", "no such option: --foo; see `godwit --help`"),
        ("vm shwo", "vm: no such command 'shwo': did you mean 'show'; see `godwit vm --help`"),
        ("vm show", "vm show: NAME is missing; see `godwit vm show --help`"),
        ("vm show a b", "vm show: got unexpected extra argument(s) (b); see `godwit vm show --help`"),
        ("vm create a --cpus x", "vm create: --cpus 'x': write a whole number; see `godwit vm create --help`"),
        ("vm create a --memory", "vm: option '--memory' requires an argument; see `godwit vm --help`"),
        ("migrate", "migrate: VM[,VM...] is missing; see `godwit migrate --help`"),
        (
            "migrate a --compress no",
            "migrate: --compress: 'no' is not one of 'auto', 'off', 'zstd'; see `godwit migrate --help`",
        ),
        ("lab demo --migrations 0", "lab demo: --migrations '0': write at least 1; see `godwit lab demo --help`"),
        ("lab exec", "lab exec: NODE is missing; see `godwit lab exec --help`"),
        ("lab exec client --", "nothing is to be run in client: write godwit lab exec client -- COMMAND"),
        ("lab fault x maybe", "lab fault: on|off: 'maybe' is not one of 'on', 'off'; see `godwit lab fault --help`"),
    ],
)
def test_wrong_words_are_told_in_a_sentence(words: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"godwit: {sentence}\n")


@pytest.mark.parametrize("name", ["", *COMMANDS, "vm stop", "lab exec"])
def test_every_command_has_its_help_at_two_options(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for option in ("-h", "--help"):
        assert main([*name.split(), option]) == 0
        shown.append(capsys.readouterr().out)
    assert "Usage:" in shown[0]
    assert ("--install-completion" in shown[0]) == (name == "")
    assert shown[0] == shown[1]


def test_a_group_without_a_command_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vm"]) == 2
    out, err = capsys.readouterr()
    assert "Usage: godwit vm" in out
    assert err == ""

"""The dispatcher: quick answers, exit statuses, one sentence for bad input, tracebacks for bugs."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import lightning_robust
from lightning_robust.cli import main as dispatcher
from lightning_robust.cli.main import main
from lightning_robust.errors import UserError, from_user


@pytest.fixture
def command(monkeypatch):
    """Put a function in the place of the module that runs a command."""

    def install(function):
        asked = []

        def fake_import(name):
            asked.append(name)
            return SimpleNamespace(run=function)

        monkeypatch.setattr(dispatcher.importlib, "import_module", fake_import)
        return asked

    return install


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["show", "--help"], ["show", "data", "--help"]])
def test_help_and_version_load_no_torch(arguments):
    code = (
        "import sys\n"
        "from lightning_robust.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as end:\n"
        "    heavy = sorted({'torch', 'lightning', 'numpy', 'open_clip'} & set(sys.modules))\n"
        "    sys.exit(f'loaded {heavy}' if heavy else end.code)\n"
        "sys.exit('did not exit')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lightning-robust" in done.stdout


def test_module_command_in_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "lightning_robust", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"lightning-robust {lightning_robust.__version__}\n"


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for name in ("fit", "validate", "test", "show"):
        assert f"\n    {name} " in text


@pytest.mark.parametrize("name", ["fit", "validate", "test"])
def test_trainer_commands_go_to_fit_with_all_arguments(command, name):
    seen = []
    asked = command(lambda arguments: seen.extend(arguments) or 0)
    assert main([name, "--trainer.max_epochs=1", "--help"]) == 0
    assert asked == ["lightning_robust.cli.fit"]
    assert seen == [name, "--trainer.max_epochs=1", "--help"]


def test_own_commands_get_parsed_arguments(command):
    seen = []
    asked = command(lambda args: seen.append(args))
    assert main(["show", "data", "--out", "sheet.png"]) == 0
    assert asked == ["lightning_robust.cli.show"]
    assert (seen[0].what, seen[0].out) == ("data", Path("sheet.png"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "required: COMMAND"),
        (["fitt"], "'fitt'"),
        (["show"], "required: WHAT"),
        (["show", "data", "--nope"], "--nope"),
        (["fit", "--config", "no-such.yaml"], "no config 'no-such.yaml'"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(capsys, arguments, part):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lightning-robust: error: ")
    assert part in err
    assert err.count("\n") == 1


def raising(error):
    def run(_):
        raise error

    return run


def test_user_errors_are_one_line(command, capsys):
    command(raising(UserError("no layer\n  named 'x'")))
    assert main(["fit"]) == 2
    assert capsys.readouterr().err == "lightning-robust: error: no layer named 'x'\n"


def test_missing_permission_names_the_place(command, capsys):
    command(raising(PermissionError(13, "Permission denied", "/somewhere/out.png")))
    assert main(["show", "data"]) == 2
    assert capsys.readouterr().err == "lightning-robust: error: no permission to read or write /somewhere/out.png\n"


def test_bugs_keep_their_traceback(command):
    for error in (ValueError("too many values"), KeyError("x"), RuntimeError("x"), FileNotFoundError("x")):
        command(raising(error))
        with pytest.raises(type(error)):
            main(["fit"])


def test_interruption(command, capsys):
    command(raising(KeyboardInterrupt()))
    assert main(["fit"]) == 130
    assert capsys.readouterr().err == "lightning-robust: interrupted\n"


def test_status_of_the_command_is_the_status(command):
    command(lambda _: 3)
    assert main(["fit"]) == 3


@pytest.mark.parametrize("how", ["switch", "environment"])
def test_traceback_on_request(command, capsys, monkeypatch, how):
    command(raising(UserError("no such thing")))
    if how == "environment":
        monkeypatch.setenv("LIGHTNING_ROBUST_TRACEBACK", "1")
    assert main(["--traceback", "fit"] if how == "switch" else ["fit"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("lightning-robust: error: no such thing\n")


def test_from_user_turns_only_the_named_kinds():
    with pytest.raises(UserError, match="alpha") as caught, from_user(ValueError):
        raise ValueError("alpha is 2")
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(KeyError), from_user(ValueError):
        raise KeyError("x")

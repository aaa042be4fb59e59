"""Every block of the README runs: Python as it stands, commands as far as a test can take them."""

import re
import shlex

import pytest
from processes import run_script
from repository import PYPROJECT, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
COMMANDS = [
    command.strip()
    for language, text in BLOCKS
    if language in ("bash", "sh", "console", "shell")
    for line in text.replace("\\\n", " ").splitlines()
    for command in re.split(r"&&|;", line.partition(" #")[0])
    if command.strip() and not command.strip().startswith("#")
]
#: What `python -m lightning_robust` and the installed command run.
MAIN = "from lightning_robust.__main__ import main\n\nraise SystemExit(main())\n"
OURS = ("python -m lightning_robust ", "lightning-robust ")


def run(code, folder, *arguments):
    """Run Python as a script in a process and a folder of its own."""
    script = folder / "block.py"
    script.write_text(code, encoding="utf-8")
    run_script(script, *arguments, folder=folder, environment={"MPLBACKEND": "Agg"})


def test_the_readme_shows_commands_and_code():
    assert PYTHON, "a user who has a training loop of their own needs an example"
    assert any(command.startswith(OURS) for command in COMMANDS)
    assert "python -m pytest" in COMMANDS


def test_links_lead_to_files():
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README)
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_block(number, tmp_path):
    run(PYTHON[number], tmp_path)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(OURS)])
def test_own_command_parses(command, tmp_path):
    """Trainer commands are parsed to the end of LightningCLI's parser and print their config; others print help."""
    words = shlex.split(command)
    arguments = words[words.index("lightning_robust") + 1 :] if words[0] == "python" else words[1:]
    is_trainers = arguments[0] in ("fit", "validate", "test") and "--help" not in arguments
    if "--ckpt_path" in arguments:  # it names a run that is not there in an empty folder
        position = arguments.index("--ckpt_path")
        del arguments[position : position + 2]
    run(MAIN, tmp_path, *arguments, "--print_config" if is_trainers else "--help")


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(OURS)])
def test_other_command_is_known(command):
    words = shlex.split(command)
    assert words[0] in {"cd", "git", "pip", "python", "python3", "source", "tensorboard", "bash"}
    extras = re.findall(r"\[(\w+(?:,\w+)*)\]", command)
    known = PYPROJECT["project"]["optional-dependencies"]
    assert [extra for group in extras for extra in group.split(",") if extra not in known] == []
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file()

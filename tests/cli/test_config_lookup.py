"""Where a config's name leads."""

from pathlib import Path

import pytest

from lightning_robust.cli import config_lookup
from lightning_robust.cli.config_lookup import find_config, resolve_configs
from lightning_robust.errors import UserError


@pytest.fixture
def shipped(monkeypatch, tmp_path):
    """Two configs that ship, and an empty working directory."""
    folder = tmp_path / "shipped"
    folder.mkdir()
    for name in ("finetune.yaml", "pretrain.yaml"):
        (folder / name).write_text("# nothing\n")
    monkeypatch.setattr(config_lookup, "files", lambda _: folder)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


@pytest.mark.parametrize("name", ["finetune.yaml", "finetune"])
def test_every_form_of_the_option(shipped, name):
    path = str(shipped / "finetune.yaml")
    assert resolve_configs(["fit", "--config", name]) == ["fit", "--config", path]
    assert resolve_configs(["fit", f"--config={name}"]) == ["fit", f"--config={path}"]
    assert resolve_configs(["fit", "-c", name, "--x=1"]) == ["fit", "-c", path, "--x=1"]
    assert resolve_configs(["fit", f"-c={name}"]) == ["fit", f"-c={path}"]


@pytest.mark.parametrize("name", ["emergence/broad.yaml", "emergence/broad"])
def test_one_that_ships_in_a_folder(shipped, name):
    (shipped / "emergence").mkdir()
    (shipped / "emergence" / "broad.yaml").write_text("# nothing\n")
    assert find_config(name) == str(shipped / "emergence" / "broad.yaml")
    with pytest.raises(UserError, match=r"emergence/broad\.yaml, finetune\.yaml"):
        find_config("broad")  # the folder is part of the name


def test_several_configs(shipped):
    Path("mine.yaml").write_text("seed: 1\n")
    found = resolve_configs(["fit", "--config", "finetune.yaml", "--config=mine.yaml"])
    assert found == ["fit", "--config", str(shipped / "finetune.yaml"), "--config=mine.yaml"]


def test_a_file_here_wins(shipped):
    Path("finetune.yaml").write_text("seed: 1\n")
    assert find_config("finetune.yaml") == "finetune.yaml"
    assert find_config("finetune") == "finetune.yaml"


def test_resolving_twice_changes_nothing(shipped):
    once = resolve_configs(["fit", "--config", "pretrain"])
    assert resolve_configs(once) == once


def test_other_arguments_pass(shipped):
    arguments = ["fit", "--configure=1", "--model.config", "finetune.yaml", "--trainer.max_epochs", "1"]
    assert resolve_configs(arguments) == arguments


@pytest.mark.parametrize("text", ["{trainer: {max_epochs: 1}}", "seed_everything: 1", "a:\n  b"])
def test_yaml_itself_passes(shipped, text):
    assert resolve_configs(["fit", "--config", text]) == ["fit", "--config", text]


def test_an_option_without_a_value_is_left_for_the_parser(shipped):
    assert resolve_configs(["fit", "--config"]) == ["fit", "--config"]
    assert resolve_configs(["fit", "--config", "--print_config"]) == ["fit", "--config", "--print_config"]


def test_unknown_name_says_where_it_looked_and_what_ships(shipped):
    with pytest.raises(UserError) as caught:
        resolve_configs(["fit", "--config", "finetun.yaml"])
    message = str(caught.value)
    for part in ("'finetun.yaml'", str(Path.cwd()), str(shipped), "finetune.yaml, pretrain.yaml"):
        assert part in message


def test_a_path_is_only_a_path(shipped):
    with pytest.raises(UserError, match=r"no config file elsewhere/finetune\.yaml"):
        find_config("elsewhere/finetune.yaml")
    with pytest.raises(UserError, match="working directory"):
        find_config("")

"""Provenance: what it says is true of this machine."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime

import torch

import lightning_robust
from lightning_robust.results import collect_provenance
from lightning_robust.results.provenance import git_revision


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()


def test_it_says_what_is_there():
    before = datetime.now(UTC).replace(microsecond=0)
    provenance = collect_provenance(device="cuda:0")
    assert provenance.packages["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert provenance.packages["lightning_robust"] == lightning_robust.__version__
    assert set(provenance.packages) >= {"torch", "lightning", "open_clip_torch", "torchmetrics", "numpy"}
    assert provenance.python == platform.python_version()
    assert provenance.threads == torch.get_num_threads()
    assert provenance.device == "cuda:0"
    created = datetime.fromisoformat(provenance.created)
    assert before <= created <= datetime.now(UTC)


def test_revision_of_a_checkout(tmp_path):
    git(tmp_path, "init", "-q")
    assert git_revision(tmp_path) is None  # no commit yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-q", "-m", "a")
    git(tmp_path, "tag", "-a", "v1", "-m", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_revision(tmp_path) == head
    (tmp_path / "a").write_text("2")
    assert git_revision(tmp_path) == head + "-dirty"


def test_no_revision_of_somebody_elses_checkout(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "site-packages").mkdir()
    assert git_revision(tmp_path / "site-packages") is None


def test_git_settings_of_the_caller_do_not_lead_astray(tmp_path, monkeypatch):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        git(folder, "init", "-q")
        (folder / "a").write_text(folder.name)
        git(folder, "add", "a")
        git(folder, "commit", "-q", "-m", folder.name)
    monkeypatch.setenv("GIT_DIR", str(theirs / ".git"))
    assert git_revision(ours) == git(ours, "rev-parse", "HEAD")


def test_without_git(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert git_revision(tmp_path) is None


def test_reading_results_needs_no_torch():
    code = "import sys, lightning_robust.results; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""The room as a whole: what importing it loads, and that its public names are all there."""

import subprocess
import sys

import lightning_robust.signatures as signatures


def test_never_imports_a_trainer():
    code = (
        "import sys, lightning_robust.signatures\n"
        "bad = {'lightning', 'pytorch_lightning', 'open_clip', 'timm'} & {name.split('.')[0] for name in sys.modules}\n"
        "sys.exit(f'loaded {sorted(bad)}' if bad else 0)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_are_there_once():
    names = signatures.__all__
    assert len(set(names)) == len(names)  # their order is the linter's
    assert all(hasattr(signatures, name) for name in names)

"""House rules on the text of the sources."""

import ast
import statistics

import pytest
from repository import ROOT, sources

SOURCES = sources()
NAMES = [str(path.relative_to(ROOT)) for path in SOURCES]


def lines(path):
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("path", SOURCES, ids=NAMES)
def test_file(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert lines(path) <= 300, "one concept per file"
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}, "a file is named after what is in it"
    assert ast.get_docstring(tree), "every file opens with a docstring"
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert not asserts, "errors are raised with a sentence: an assert is gone under python -O"


def test_files_are_short_on_the_whole():
    assert statistics.median(lines(path) for path in SOURCES) <= 150


def test_functions_are_short_on_the_whole():
    """At the 90th percentile, docstrings not counted: a definition with shapes and sources may be long."""
    lengths = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lengths.append(body[-1].end_lineno - body[0].lineno + 1 if body else 0)
    assert statistics.quantiles(lengths, n=10)[-1] <= 40
    assert len(lengths) > 20  # it looked at something

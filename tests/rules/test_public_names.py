"""Every module imports by its name, every example in its docstrings runs, and its public names are documented."""

import ast
import dataclasses
import doctest
import importlib
import inspect
from pathlib import Path

import pytest
from repository import PACKAGES, modules


class _Finder(doctest.DocTestFinder):
    """Finds the examples of functions that a decorator wraps too: jaxtyping wraps those of two rooms under pytest."""

    def _from_module(self, module, thing):
        return getattr(thing, "__module__", None) == module.__name__ or super()._from_module(module, thing)


def examples_written(path):
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    return sum(len(doctest.DocTestParser().get_examples(text)) for text in docstrings)


@pytest.mark.parametrize("name", modules())
def test_module_imports_and_its_examples_run(name, tmp_path, monkeypatch):
    module = importlib.import_module(name)
    assert [public for public in getattr(module, "__all__", ()) if not hasattr(module, public)] == []
    monkeypatch.chdir(tmp_path)  # an example that writes must not write into the repository
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in _Finder().find(module, name):
        runner.run(example)
    assert runner.failures == 0
    assert runner.tries == examples_written(module.__file__), "an example is where doctest does not find it"


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_documented(package):
    module = importlib.import_module(package)
    undocumented = [name for name in getattr(module, "__all__", ()) if not documented(getattr(module, name))]
    assert undocumented == []


def documented(thing):
    """Functions and classes need a docstring of their own; constants are explained where they stand."""
    if not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return True
    text = (thing.__dict__.get("__doc__") if inspect.isclass(thing) else inspect.getdoc(thing)) or ""
    # a dataclass without a docstring gets its signature as one
    return bool(text.strip()) and not text.startswith(f"{thing.__name__}(")


def test_the_rule_sees_what_it_should():
    assert not documented(dataclasses.make_dataclass("Bare", ["x"]))
    assert not documented(lambda: None)
    assert documented(documented)
    assert documented(3)

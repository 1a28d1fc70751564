"""The examples in the docstrings run and print what they say."""

import doctest
import importlib
import pkgutil

import pytest

import tfp_realnvp

MODULES = ["tfp_realnvp"] + [module.name for module in pkgutil.walk_packages(tfp_realnvp.__path__, "tfp_realnvp.")]


def _examples(module):
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def test_there_are_examples():
    # Against a finder that finds nothing: the coupling's docstring has one.
    module = importlib.import_module("tfp_realnvp.bijectors.coupling")
    assert [test.name for test in _examples(module)] == ["tfp_realnvp.bijectors.coupling.Coupling"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run_and_print_what_they_say(name, capsys):
    runner = doctest.DocTestRunner()
    for test in _examples(importlib.import_module(name)):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0, capsys.readouterr().out

"""Mutations change the code that they name, and give it back; the code is there, and is called."""

from dataclasses import replace
from inspect import getattr_static
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

import paxosd
from tests.bench.mutation import around, instead
from tests.bench.mutation_campaign import is_seen, mutant_run
from tests.bench.mutation_runs import PROFILES
from tests.bench.mutation_tables import MUTATIONS

PRODUCT = Path(paxosd.__file__).parent


class Example:
    def method(self, owner, name, make):
        return owner, name, make

    @classmethod
    def built(cls, name):
        return cls, name


def names_used(module):
    """The global names that the code of a module's functions and methods refers to."""
    codes = [compile(Path(module.__file__).read_text(), module.__file__, "exec")]
    for code in codes:
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
    return {name for code in codes[1:] for name in code.co_names}


class TestPatches:
    def test_there_are_enough_of_them(self):
        assert len(MUTATIONS) >= 80
        assert sum(each.in_suite for each in MUTATIONS.values()) >= 40

    @pytest.mark.parametrize("name", list(MUTATIONS))
    def test_a_mutation_changes_the_code_and_gives_it_back(self, name):
        patches = MUTATIONS[name].patches
        assert patches
        before = [getattr_static(each.owner, each.name) for each in patches]
        with MUTATIONS[name].applied():
            for each, original in zip(patches, before, strict=True):
                assert getattr_static(each.owner, each.name) is not original
        assert before == [getattr_static(each.owner, each.name) for each in patches]

    @pytest.mark.parametrize("name", list(MUTATIONS))
    def test_a_function_of_a_module_is_replaced_where_it_is_called(self, name):
        """Who imported it from there by name would go on calling the original."""
        for each in MUTATIONS[name].patches:
            original = getattr_static(each.owner, each.name)
            if isinstance(each.owner, ModuleType) and isinstance(original, FunctionType):
                by_module = f"{each.where}("  # "identity.claim("
                called = each.name in names_used(each.owner) or any(
                    by_module in path.read_text() for path in PRODUCT.rglob("*.py")
                )
                assert called, f"nothing calls {each.where}"

    def test_what_is_not_there_cannot_be_replaced(self):
        with pytest.raises(AttributeError):
            instead(Example, "no_such_method", 1).made()

    @pytest.mark.parametrize(
        "wrong",
        [
            lambda self, owner, name: None,
            lambda self, name, owner, make, more: None,
            lambda self, owner, name, *, make: None,
        ],
    )
    def test_what_is_called_otherwise_than_what_it_replaces_is_refused(self, wrong):
        """Its run would fail with a TypeError, and the mutation count as caught."""
        with pytest.raises(TypeError, match=r"replaces Example\.method"):
            instead(Example, "method", wrong).made()

    def test_what_takes_anything_replaces_anything(self):
        assert instead(Example, "method", lambda self, *_, **__: None).made()

    def test_around_a_function_whose_call_differs_is_refused(self):
        with pytest.raises(TypeError, match=r"replaces Example\.method"):
            around(Example, "method", lambda real, self, owner: None).made()

    def test_around_calls_the_original(self):
        made = around(Example, "method", lambda real, self, *given: real(self, *given)[::-1]).made()
        assert made(Example(), 1, 2, 3) == (3, 2, 1)
        made = around(Example, "built", lambda real, cls, name: real(cls, name * 2)).made()
        assert made.__get__(None, Example)("a") == (Example, "aa")

    def test_an_error_of_the_program_is_no_catch(self):
        def report(violation):
            return replace(mutant_run(1, "no-fsync", "storm"), ok=False, violation=violation)

        assert is_seen(report("agreement: two values"))
        assert is_seen(report("exception: AssertionError: a promise went down"))
        assert not is_seen(report("exception: TypeError: unexpected keyword argument"))

    def test_every_profile_named_exists(self):
        for mutation in MUTATIONS.values():
            assert set(mutation.profiles) <= set(PROFILES), mutation.name

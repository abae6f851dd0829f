"""Tests of what Beam need not find out again."""

import apache_beam as beam
import pytest
from apache_beam.internal import pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, TypeOptions
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms import core
from apache_beam.transforms.userstate import BagStateSpec, get_dofn_specs

from pipeline.run.beam_memo import memoized

pytestmark = pytest.mark.fast

_REPLACED = (
    (core, "get_function_args_defaults"),
    (PipelineOptions, "view_as"),
    (cloudpickle, "_find_imported_submodules"),
)


class _Keeping(beam.DoFn):
    """Answers with what the earlier elements of the same key were."""

    SPEC = BagStateSpec("kept", beam.coders.StrUtf8Coder())
    STATE = beam.DoFn.StateParam(SPEC)

    def process(self, element, state=STATE, more=1):  # type: ignore[no-untyped-def]
        key, value = element
        yield key, "".join(sorted(state.read())), more
        state.add(value)


def _plain(first, second=2):  # type: ignore[no-untyped-def]
    return first, second


def test_beam_is_as_it_was_afterwards() -> None:
    before = [getattr(owner, name) for owner, name in _REPLACED]
    with memoized():
        assert all(getattr(owner, name) is not was for (owner, name), was in zip(_REPLACED, before, strict=True))
    assert [getattr(owner, name) for owner, name in _REPLACED] == before


def test_arguments_are_those_of_the_function_or_the_method() -> None:
    one = _Keeping()
    kinds = (_plain, one.process, _Keeping.process, _Keeping().process, len, one.process)
    expected = [core.get_function_args_defaults(each) for each in kinds]
    with memoized():
        for each, (names, defaults) in zip(kinds, expected, strict=True):
            found = core.get_function_args_defaults(each)
            assert found == (names, defaults)
            found[0].clear()  # Whoever asks next is given a list of its own.
            assert core.get_function_args_defaults(each) == (names, defaults)
        assert get_dofn_specs(one)[0] == {_Keeping.SPEC}
        assert get_dofn_specs(beam.DoFn()) == (set(), set())


def test_views_share_the_values_of_their_options_alone() -> None:
    with memoized():
        two, three = (PipelineOptions([f"--direct_num_workers={workers}"]) for workers in (2, 3))
        assert [options.view_as(DirectOptions).direct_num_workers for options in (two, three)] == [2, 3]
        two.view_as(TypeOptions).runtime_type_check = True
        assert two.view_as(DirectOptions).view_as(TypeOptions).runtime_type_check
        assert not three.view_as(TypeOptions).runtime_type_check


def test_pickled_functions_find_the_modules_that_they_mean() -> None:
    import concurrent.futures

    def pool() -> type:
        return concurrent.futures.ThreadPoolExecutor

    def alone() -> object:
        return concurrent

    with memoized():
        for _ in range(2):
            assert cloudpickle._find_imported_submodules(pool.__code__, iter([concurrent])) == [concurrent.futures]
            assert cloudpickle._find_imported_submodules(alone.__code__, iter([concurrent])) == []
        assert pickler.loads(pickler.dumps(pool))() is concurrent.futures.ThreadPoolExecutor


def test_pipelines_compute_the_same() -> None:
    with memoized():
        for letters in ("aab", "bbb"):
            with beam.Pipeline(runner="FnApiRunner") as pipeline:
                kept = pipeline | beam.Create([(letter, letter) for letter in letters]) | beam.ParDo(_Keeping())
                expected = [(letter, letters[:place].count(letter) * letter, 1) for place, letter in enumerate(letters)]
                assert_that(kept, equal_to(expected))

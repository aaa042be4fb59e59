"""Options behind the question mark of a short text."""

import pytest

from lightning_robust.data.spec_options import spec_options


def test_values_may_hold_equals_signs_and_stay_texts():
    assert spec_options("a=1&b=x=y", "csv:f?a=1&b=x=y", ["a", "b"], "'csv:'") == {"a": "1", "b": "x=y"}


@pytest.mark.parametrize(
    ("tail", "part"), [("", ""), ("a", "a"), ("a=", "a="), ("c=1", "c=1"), ("a=1&a=2", "a=2"), ("a=1&", "")]
)
def test_what_is_no_option_is_named_with_what_works(tail, part):
    with pytest.raises(ValueError, match=f"^{part!r} in 'csv:f' is no option; .*'csv:' takes a, b$"):
        spec_options(tail, "csv:f", ["a", "b"], "'csv:'")

"""A stage's scope as its run's folder, name and seed."""

import gin
import pytest

from instrux.errors import InputError
from launch import scopes


def test_the_scope_says_where_a_run_lies_and_which_it_is():
    with gin.config_scope("prompts/rte/seed12"):
        assert scopes.folder(out="gs://bucket/out/") == "gs://bucket/out/prompts/rte/seed12"
        assert (scopes.name(), scopes.number()) == ("prompts/rte/seed12", 12)
        with pytest.raises(InputError, match="no part of it is 'size' and a number"):
            scopes.number(of="size")
    with pytest.raises(InputError, match="this one has no scope"):
        scopes.name()

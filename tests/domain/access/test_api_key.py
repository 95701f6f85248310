"""A key is random, is stored as a hash, and has a name that a TOML table and a header can carry."""

import re
from datetime import date

import pytest

from litestar_diffusion.domain.access.api_key import ApiKey, hash_of, new_key, wrong_keys
from litestar_diffusion.domain.access.scopes import allows


def test_a_key_has_256_random_bits_and_a_prefix_that_is_recognised() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"ldk_[A-Za-z0-9_-]{43}", key) for key in keys)


def test_the_hash_is_the_sha_256_that_other_tools_compute() -> None:
    assert hash_of("ldk_x") == "sha256:8fbb4ad65e8c7d129c58e4aaed536bc5d28ea0f57987b77b887ec9179dc16d58"


@pytest.mark.parametrize(
    ("held", "accepted", "allowed"),
    [
        (("admin",), {"generate"}, True),
        (("admin",), {"read"}, True),
        (("generate",), {"generate", "read"}, True),
        (("generate",), {"read"}, False),
        (("read",), {"generate"}, False),
        (("generate", "read"), {"admin"}, False),
    ],
)
def test_admin_includes_the_other_scopes_which_do_not_include_each_other(
    held: tuple, accepted: set, allowed: bool
) -> None:
    assert allows(held, accepted) == allowed


def test_models_are_names_or_globs_and_none_means_all() -> None:
    def key(*models: str) -> ApiKey:
        return ApiKey(hash=hash_of("x"), scopes=("generate",), models=models)

    assert key().may_use("anything")
    assert key("demo", "sdxl-*").may_use("sdxl-turbo")
    assert not key("demo", "sdxl-*").may_use("demo-turbo")


def test_two_tables_with_one_key_and_names_that_no_table_can_have_are_refused() -> None:
    key = ApiKey(hash=hash_of("x"), scopes=("read",), expires=date(2030, 1, 1))
    errors = wrong_keys({"a": key, "b": key, "c d": ApiKey(hash=hash_of("y"), scopes=("read",))})
    assert [(error.field, error.message.split(":")[0]) for error in errors] == [
        ("keys.c d", "must be 1 to 64 letters a-z, digits, - or _"),
        ("keys.b.hash", "is that of keys.a"),
    ]

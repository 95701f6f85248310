"""A credential finds its key, after every key was compared in constant time."""

import hmac
from datetime import date

import pytest

from litestar_diffusion.domain.access.api_key import ApiKey, hash_of, new_key
from litestar_diffusion.domain.access.key_ring import KeyRing
from litestar_diffusion.domain.errors import Unauthorized

TEXTS = [new_key() for _ in range(5)]
KEYS = {f"k{index}": ApiKey(hash=hash_of(text), scopes=("read",)) for index, text in enumerate(TEXTS)}


@pytest.mark.parametrize(
    "credential",
    [*TEXTS, "ldk_made-up", "", "ü\udcff"],
    ids=[*map(str, range(len(TEXTS))), "made up", "empty", "no ASCII"],
)
def test_every_key_is_compared_by_compare_digest_whichever_is_right(
    credential: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr(hmac, "compare_digest", compare)
    ring = KeyRing(KEYS)
    if credential in TEXTS:
        assert ring.holder_of(credential).name == f"k{TEXTS.index(credential)}"
    else:
        with pytest.raises(Unauthorized):
            ring.holder_of(credential)
    assert compared == [(key.hash, hash_of(credential)) for key in KEYS.values()]


def test_a_key_is_valid_until_the_day_on_which_it_expires() -> None:
    text, today = new_key(), date(2026, 12, 31)
    ring = KeyRing({"ci": ApiKey(hash=hash_of(text), scopes=("read",), expires=date(2027, 1, 1))}, today=lambda: today)
    assert ring.holder_of(text).name == "ci"
    today = date(2027, 1, 1)
    with pytest.raises(Unauthorized, match=r"'ci' expired on 2027-01-01 \(keys\.ci\.expires\)"):
        ring.holder_of(text)


def test_the_hash_itself_is_no_key() -> None:
    with pytest.raises(Unauthorized):
        KeyRing(KEYS).holder_of(KEYS["k0"].hash)

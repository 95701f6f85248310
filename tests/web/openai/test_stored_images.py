"""Images that are named by an address are there for an hour, and within a number of bytes."""

from litestar_diffusion.web.openai.stored_images import StoredImages


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_image_is_there_until_its_time_is_over() -> None:
    clock = Clock()
    stored = StoredImages(keep_s=10, clock=clock)
    name = stored.put(b"data", "image/png")
    clock.now = 9.9
    found = stored.get(name)
    assert found is not None
    assert (found.data, found.media_type) == (b"data", "image/png")
    clock.now = 10.0
    assert stored.get(name) is None


def test_the_oldest_go_if_there_are_too_many_bytes() -> None:
    stored = StoredImages(max_nbytes=10)
    names = [stored.put(bytes(4), "image/png") for _ in range(3)]
    assert [stored.get(name) is not None for name in names] == [False, True, True]


def test_one_image_is_kept_whatever_its_size() -> None:
    stored = StoredImages(max_nbytes=10)
    assert stored.get(stored.put(bytes(100), "image/png")) is not None


def test_names_cannot_be_guessed() -> None:
    stored = StoredImages()
    names = {stored.put(b"", "image/png") for _ in range(100)}
    assert len(names) == 100
    assert all(len(name) >= 43 for name in names)

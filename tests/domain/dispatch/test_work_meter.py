"""Work that the device has done for a request, in parts of its steps."""

from litestar_diffusion.domain.dispatch.work_meter import WorkMeter


class Device:
    """A meter, and the clock of its device."""

    def __init__(self) -> None:
        self.now = 100.0
        self.meter = WorkMeter(lambda: self.now)

    def works(self, seconds: float, done: int, total: int = 10) -> float:
        self.now += seconds
        self.meter.report(done, total)
        return self.meter.fraction


def test_steps_count_as_such_and_the_step_in_progress_as_done() -> None:
    device = Device()
    device.meter.begin_turn()
    assert device.works(0, 0) == 0
    assert device.meter.fraction_soon == 0.1
    assert device.works(3, 1) == 0.1
    assert device.works(3, 3) == 0.3, "two images that are made together"
    assert device.meter.fraction_soon == 0.5


def test_what_is_done_beside_the_steps_counts_by_its_time_and_the_time_of_others_does_not() -> None:
    device = Device()
    device.meter.begin_turn()
    device.works(2, 0)  # encoding, before anything is known of the steps
    assert device.works(1, 1) == (1 + 2) / 10
    device.now += 1000
    device.meter.begin_turn()
    assert device.works(0, 1) == (1 + 2) / 10
    for done in range(2, 11):
        device.works(1, done)
    assert device.works(5, 10) == (10 + 2 + 5) / 10, "decoding is work beyond the steps"


def test_a_request_that_begins_again_with_less_memory_has_done_nothing() -> None:
    device = Device()
    device.meter.begin_turn()
    device.works(1, 4)
    assert device.works(1, 0) == 0

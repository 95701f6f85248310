"""How far a stage of a job is, and when its step ends."""

from litestar_diffusion.domain.dispatch.step_meter import StepMeter


class Device:
    """A meter, and the clock of its device."""

    def __init__(self) -> None:
        self.now = 100.0
        self.meter = StepMeter(lambda: self.now)

    def works(self, seconds: float, done: int, total: int = 10) -> float:
        self.now += seconds
        self.meter.report(done, total)
        return self.meter.fraction


def test_the_fraction_counts_steps_alone() -> None:
    device = Device()
    device.meter.begin_turn()
    assert device.works(2, 0) == 0
    assert device.works(1, 1) == 0.1
    assert device.works(1, 3) == 0.3, "two images that are made together"
    for done in range(4, 11):
        device.works(1, done)
    assert device.works(5, 10) == 1, "a decoding"


def test_the_step_in_progress_is_expected_to_take_as_long_as_the_one_before() -> None:
    device = Device()
    device.meter.begin_turn()
    assert device.meter.step_left_s(50) == 0, "nothing is known of its steps"
    device.works(2, 0)
    assert device.meter.step_left_s(50) == 5, "by the estimate for all"
    device.works(3, 1)
    device.now += 1
    assert device.meter.step_left_s(50) == 2
    device.now += 10
    assert device.meter.step_left_s(50) == 0, "it is overdue"


def test_the_time_of_others_between_two_turns_is_no_part_of_a_step() -> None:
    device = Device()
    device.meter.begin_turn()
    device.works(3, 1)
    device.now += 1000
    device.meter.begin_turn()
    device.works(2, 2)
    assert device.meter.step_left_s(50) == 2


def test_a_request_that_begins_again_with_less_memory_has_done_nothing() -> None:
    device = Device()
    device.meter.begin_turn()
    device.works(1, 4)
    assert device.works(1, 0) == 0

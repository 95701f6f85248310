"""What a job knows of its progress."""

from litestar_diffusion.domain.jobs.tracked_job import TrackedJob
from litestar_diffusion.domain.models.components import LoadProgress
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.domain.requests.progress import StepProgress


def tracked() -> TrackedJob:
    return TrackedJob(id="1", model=ModelName("a"), client="", created=0.0)


def test_the_estimate_comes_from_the_steps_so_far_and_falls_between_steps() -> None:
    job = tracked()
    assert job.remaining_s(0) is None
    job.note(StepProgress(done=0, total=10), 100.0)
    assert job.remaining_s(101) is None
    job.note(StepProgress(done=2, total=10), 104.0)
    assert job.remaining_s(104) == 16
    assert job.remaining_s(105) == 15
    assert job.remaining_s(500) == 0


def test_a_phase_of_a_load_gets_a_hundred_events_and_one_for_its_end() -> None:
    job = tracked()
    for phase in ("download", "read"):
        for done in range(10_001):
            job.note(LoadProgress(phase=phase, done_nbytes=done, total_nbytes=10_000), 0.0)
    reported = [event.data for event in job.log.after(0)]
    assert len(reported) == 202
    assert reported[-1] == {"phase": "read", "done_nbytes": 10_000, "total_nbytes": 10_000}

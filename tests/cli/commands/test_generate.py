"""`litestar-diffusion generate` is no server."""

from litestar_diffusion.cli.commands.generate import settings_of_command
from litestar_diffusion.settings import JobsSettings, Settings


def test_a_command_leaves_jobs_and_the_device_to_a_server_with_the_same_settings() -> None:
    stated = Settings(jobs=JobsSettings(directory="data", database="postgresql://localhost/jobs"))
    jobs = settings_of_command(stated).jobs
    assert (jobs.directory, jobs.database) == ("", None)

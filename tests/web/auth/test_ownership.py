"""Jobs, idempotency keys, image addresses and sessions belong to the key that sent them."""

import asyncio
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion.testing import FakeEngine
from tests.web.auth.keyed import BODY, bearer, keyed, keyed_loop, until


def test_jobs_of_another_key_are_unknown_and_admin_sees_all() -> None:
    with keyed() as client:
        url = client.post("/jobs/demo", json=BODY, headers=bearer("ci")).headers["location"]
        done(client, url)
        for method, path in (("GET", url), ("GET", f"{url}/events"), ("DELETE", url)):
            answer = client.request(method, path, headers=bearer("other") if method == "DELETE" else bearer("prom"))
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown_job"), answer.text
            nothing = client.request(method, path.replace(url, "/jobs/nope"), headers=bearer("other"))
            assert nothing.json()["detail"].replace("nope", url.rpartition("/")[2]) == answer.json()["detail"]
        assert listed(client, "ci") == listed(client, "root") == [url]
        assert listed(client, "other") == listed(client, "prom") == []
        assert client.get(url, headers=bearer("root")).status_code == 200
        assert client.delete(url, headers=bearer("root")).status_code == 200
        assert client.get(url, headers=bearer("ci")).status_code == 410
        assert client.get(url, headers=bearer("other")).status_code == 404, "that it was there is not said either"


def done(client: TestClient[Litestar], url: str) -> None:
    with client.stream("GET", f"{url}/events", headers=bearer("ci")) as events:
        events.read()


def listed(client: TestClient[Litestar], name: str) -> list[str]:
    return [job["url"] for job in client.get("/jobs", headers=bearer(name)).json()]


def test_one_idempotency_key_of_two_keys_is_two_requests() -> None:
    with keyed() as client:

        def sent(name: str, prompt: str) -> Any:
            headers = {**bearer(name), "idempotency-key": "1"}
            return client.post("/jobs/demo", json={**BODY, "prompt": prompt}, headers=headers)

        first = sent("ci", "x")
        assert sent("ci", "x").json()["id"] == first.json()["id"]
        assert sent("ci", "y").status_code == 409
        assert sent("other", "y").status_code == 202


def test_an_image_address_is_good_for_its_key_and_for_admin() -> None:
    with keyed() as client:
        body = {"prompt": "x", "model": "demo", "size": "64x64", "response_format": "url"}
        url = client.post("/v1/images/generations", json=body, headers=bearer("ci")).json()["data"][0]["url"]
        statuses = [client.get(url, headers=headers).status_code for headers in ({}, bearer("other"), bearer("prom"))]
        assert statuses == [401, 404, 404]
        assert (
            client.get(url, headers=bearer("ci")).status_code
            == client.get(url, headers=bearer("root")).status_code
            == 200
        )


def test_options_progress_and_interrupt_of_the_web_ui_are_those_of_the_key() -> None:
    engine = FakeEngine()

    async def main() -> None:
        engine.gate.clear()
        async with keyed_loop(engine) as client:
            await client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "large"}, headers=bearer("ci"))
            names = {
                name: (await client.get("/sdapi/v1/options", headers=bearer(name))).json()["sd_model_checkpoint"]
                for name in ("ci", "other")
            }
            assert names == {"ci": "large", "other": "demo"}
            body = {"prompt": "x", "steps": 2, "width": 64, "height": 64}
            running = asyncio.create_task(client.post("/sdapi/v1/txt2img", json=body, headers=bearer("ci")))
            await until(lambda: engine.running)
            progress = {
                name: (await client.get("/sdapi/v1/progress", headers=bearer(name))).json()["progress"]
                for name in ("ci", "other", "root")
            }
            assert progress["ci"] > 0
            assert progress["other"] == progress["root"] == 0
            await client.post("/sdapi/v1/interrupt", headers=bearer("other"))
            engine.gate.set()
            assert (await running).status_code == 200, "another key's interrupt stops nothing"

    asyncio.run(main())

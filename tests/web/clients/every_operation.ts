// Calls every operation with the types that openapi-typescript has generated. Run by test_generated_clients.py.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated.js";

declare const process: { argv: string[]; exit(code: number): never };

const [baseUrl, ...operations] = process.argv.slice(2);
const client = createClient<paths>({ baseUrl });
const used = new Set<string>();
client.use({
  onRequest({ request, schemaPath }) {
    used.add(`${request.method} ${schemaPath}`);
  },
});

function check(right: unknown, what: string): asserts right {
  if (!right) {
    console.error(`wrong: ${what}`);
    process.exit(1);
  }
}

/** The data of an answer, which must be a good one. */
async function good<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<NonNullable<T>> {
  const { data, error, response } = await call;
  check(data !== undefined && data !== null, `${response.url} ${response.status} ${JSON.stringify(error)}`);
  return data;
}

const body: components["schemas"]["GenerationParameters"] = { prompt: "a red circle", num_inference_steps: 1, seed: 7 };
const demo = { params: { path: { name: "demo" } } };

check((await good(client.GET("/health/live"))).status === "live", "live");
check((await good(client.GET("/health/ready"))).status === "ready", "ready");
check((await good(client.GET("/"))).models.includes("demo"), "models of the service");
check((await good(client.GET("/models"))).length > 0, "models");
check((await good(client.POST("/models/{name}/load", demo))).residency === "device", "loaded");
check((await good(client.POST("/models/{name}/pin", demo))).pinned, "pinned");
check(!(await good(client.POST("/models/{name}/unpin", demo))).pinned, "unpinned");
check((await good(client.GET("/models/{name}", demo))).overrides.few_step === null, "few_step");
check((await good(client.GET("/pool"))).models.length > 0, "pool");

const path = { model_name: "demo" };
const made = await good(client.POST("/generate/{model_name}", { params: { path }, body }));
check(typeof made === "object" && "images" in made && made.images[0].seed === 7, "image");
const dry = await good(client.POST("/generate/{model_name}", { params: { path, query: { dry_run: true } }, body }));
check(typeof dry === "object" && "dry_run" in dry && dry.dry_run, "dry run");

const sent = await good(client.POST("/jobs/{model_or_job}", { params: { path: { model_or_job: "demo" } }, body }));
const job = { params: { path: { model_or_job: sent.id } } };
check((await good(client.GET("/jobs/{model_or_job}/events", { ...job, parseAs: "text" }))).includes("event: done"), "events");
const shown = await good(client.GET("/jobs/{model_or_job}", job));
check(shown.result?.images[0].image === made.images[0].image, "result");
const file = { path: { model_or_job: sent.id, index: 0 }, query: { width: 32 } };
const small = await good(client.GET("/jobs/{model_or_job}/images/{index}", { params: file, parseAs: "blob" }));
check((small as unknown as Blob).type === "image/webp", "small image");
check((await good(client.GET("/jobs"))).some((other) => other.id === sent.id), "jobs");
check((await good(client.DELETE("/jobs/{model_or_job}", job))).state === "done", "removed");
check((await good(client.POST("/models/{name}/unload", demo))).residency === "cold", "unloaded");

const outline = { params: { path: { name: "outline" } } };
check((await good(client.GET("/adapters"))).some((adapter) => adapter.name === "outline"), "adapters");
check((await good(client.GET("/adapters/{name}", outline))).name === "outline", "adapter");
check((await good(client.POST("/adapters/{name}/unload", outline))).name === "outline", "adapter unloaded");
check((await good(client.GET("/embeddings"))).some((embedding) => embedding.name === "turquoise"), "embeddings");
check((await good(client.GET("/vaes"))).length === 0, "vaes");
check((await client.GET("/vaes/{name}", { params: { path: { name: "none" } } })).error?.status === 404, "no such vae");
check((await good(client.GET("/samplers"))).some((sampler) => sampler.name === "euler"), "samplers");
check((await good(client.GET("/upscalers"))).some((upscaler) => upscaler.name === "lanczos"), "upscalers");
const picture =
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAQElEQVR42mNUdrvOQApgYiAR0F4DC6bQzhs+cLa7xhYCNiCrxuSi" +
  "a8CUxhQchKGEogEzTDAFmfBLYxrBOAzSEgA0nhGhIcYh3gAAAABJRU5ErkJggg==";
const larger = await good(client.POST("/upscale", { body: { image: picture, upscaler: "lanczos", scale: 2 } }));
check(typeof larger === "object" && "images" in larger && larger.images[0].width === 32, "larger");
check((await good(client.GET("/metrics", { parseAs: "text" }))).includes("litestar_diffusion"), "metrics");

const wrong = await client.POST("/generate/{model_name}", { params: { path }, body: { ...body, n: 99 } });
check(wrong.error?.errors?.[0].field === "n", "problem document");
const forgotten = operations.filter((operation) => !used.has(operation));
check(forgotten.length === 0, `not called: ${forgotten.join(", ")}`);

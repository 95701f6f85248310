/** Jobs that this page has sent or found unfinished: each is followed by its events until it ends. */
import { computed, signal } from "@preact/signals";
import { follow } from "../api/events.js";
import { ApiError, Unreachable, getJson, send } from "../api/http.js";
import { body, mask, model, picture } from "./form.js";

const UNFINISHED = ["running", "loading", "queued"];

/** One job, as the page sees it. */
export class LiveJob {
  state = signal(/** @type {import("../types").Job["state"]} */ ("queued"));
  position = signal(/** @type {number | null} */ (null));
  loading = signal(/** @type {{phase: string, done_nbytes: number, total_nbytes: number} | null} */ (null));
  done = signal(0);
  total = signal(0);
  /** Address of the unfinished image. */
  preview = signal("");
  /** Whether the connection to its events is lost for now. */
  lost = signal(false);
  restarts = signal(0);
  result = signal(/** @type {import("../types").Generated | null} */ (null));
  problem = signal(/** @type {{title: string, detail: string, code?: string} | null} */ (null));
  over = computed(() => !UNFINISHED.includes(this.state.value));
  remainingS = signal(/** @type {number | null} */ (null));
  /** @type {{at: number, done: number} | null} */
  #firstStep = null;
  #ending = new AbortController();

  /** @param {import("../types").Job} job */
  constructor(job) {
    this.id = job.id;
    this.url = job.url;
    this.model = job.model;
    this.prompt = job.prompt;
    this.state.value = job.state;
    this.position.value = job.position;
  }

  /** Take in its events until it ends, then its images. */
  async watch() {
    try {
      await follow(this.url, (kind, data) => this.#note(kind, data), this.#ending.signal, (lost) => (this.lost.value = lost));
      await this.#finish();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#fail(error);
    }
  }

  async cancel() {
    await send(this.url, { method: "DELETE" });
  }

  forget() {
    this.#ending.abort();
  }

  /**
   * @param {string} kind
   * @param {any} data
   */
  #note(kind, data) {
    if (kind === "queued") [this.state.value, this.position.value] = ["queued", data.position];
    if (kind === "loading") [this.state.value, this.loading.value] = ["loading", data];
    if (kind === "step") this.#noteStep(data.done, data.total);
    if (kind === "preview") this.preview.value = `data:${data.media_type};base64,${data.image}`;
    if (kind === "restarted") this.restarts.value = data.restarts;
  }

  /**
   * @param {number} done
   * @param {number} total
   */
  #noteStep(done, total) {
    [this.state.value, this.done.value, this.total.value, this.loading.value] = ["running", done, total, null];
    if (this.#firstStep === null || done < this.#firstStep.done) this.#firstStep = { at: performance.now(), done };
    const steps = done - this.#firstStep.done;
    const seconds = (performance.now() - this.#firstStep.at) / 1000;
    this.remainingS.value = steps > 0 ? (seconds / steps) * (total - done) : null;
  }

  async #finish() {
    const job = /** @type {import("../types").JobResult} */ (await getJson(this.url));
    this.result.value = job.result;
    this.problem.value = job.problem;
    this.state.value = job.state;
  }

  /** @param {ApiError} error */
  #fail(error) {
    this.problem.value = { title: error.title, detail: error.message, code: error.code };
    this.state.value = "failed";
  }
}

/** The newest first. */
export const jobs = signal(/** @type {LiveJob[]} */ ([]));
/** The one that is shown large; null for the newest. */
export const chosen = signal(/** @type {LiveJob | null} */ (null));
export const shown = computed(() => chosen.value ?? jobs.value[0] ?? null);
/** Why the last request was refused. */
export const refused = signal(/** @type {ApiError | Error | null} */ (null));
export const sending = signal(false);
/** Grows with each job that ends, so that lists of jobs know when to read them again. */
export const endings = signal(0);

const MOST = 24;

/** Send the request that is being composed. */
export async function generate() {
  if (sending.value || !model.value) return;
  sending.value = true;
  try {
    const answer = await send(`jobs/${encodeURIComponent(model.value)}`, { method: "POST", ...encoded() });
    refused.value = null;
    add(await answer.json());
    document.getElementById("stage")?.scrollIntoView({ block: "nearest" });
  } catch (error) {
    refused.value = /** @type {Error} */ (error);
  } finally {
    sending.value = false;
  }
}

/** Body of the request: JSON, or a form if there are pictures. @returns {RequestInit} */
function encoded() {
  const parameters = JSON.stringify({ ...body.value, previews: true });
  const headers = { "content-type": "application/json", "idempotency-key": randomId() };
  if (picture.value === null) return { body: parameters, headers };
  const form = new FormData();
  form.append("parameters", parameters);
  form.append("image", picture.value);
  if (mask.value !== null) form.append("mask", mask.value, "mask.png");
  return { body: form, headers: { "idempotency-key": headers["idempotency-key"] } };
}

/** `crypto.randomUUID` exists on https and localhost alone. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {import("../types").Job} job */
function add(job) {
  const live = new LiveJob(job);
  for (const old of jobs.value.slice(MOST - 1)) old.forget();
  jobs.value = [live, ...jobs.value].slice(0, MOST);
  chosen.value = null;
  void live.watch().finally(() => (endings.value += 1));
}

/** Errors that the page tells elsewhere: the server is away, or wants a key. @param {unknown} error @returns {never[]} */
function nothing(error) {
  if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
  return [];
}

/** Follow the unfinished jobs of this client that were sent before the page was opened. */
export async function findUnfinished() {
  const lists = await Promise.all(UNFINISHED.map((state) => getJson(`jobs?state=${state}&limit=${MOST}`))).catch(nothing);
  const known = new Set(jobs.value.map((job) => job.id));
  const found = /** @type {import("../types").Job[]} */ (lists.flat()).filter((job) => !known.has(job.id));
  found.sort((one, other) => one.created.localeCompare(other.created)).forEach(add);
}

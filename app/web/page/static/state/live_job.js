/** One job, as the page sees it: its events, or what a list says of it, become signals. */
import { computed, signal } from "@preact/signals";
import { follow } from "../api/events.js";
import { ApiError, Unreachable, getJson, passes, send } from "../api/http.js";
import { insist } from "../api/insist.js";

export const UNFINISHED = ["running", "loading", "queued"];

const RESULT_MS = 120_000;

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
  /** @type {import("../api/events.js").Place} */
  #place = { lastId: "" };

  /** @param {import("../types").Job} job */
  constructor(job) {
    this.id = job.id;
    this.url = job.url;
    this.model = job.model;
    this.prompt = job.prompt;
    this.created = job.created;
    this.state.value = job.state;
    this.position.value = job.position;
  }

  /**
   * Take in its events from where the last call stopped, then its images; until `signal` ends it.
   * @param {AbortSignal} signal
   */
  async watch(signal) {
    const onConnection = (/** @type {boolean} */ lost) => (this.lost.value = lost);
    try {
      await follow(this.url, this.#place, (kind, data) => this.#note(kind, data), signal, onConnection);
      await insist(() => this.#finish(signal), signal, onConnection);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.lost.value = false;
    }
  }

  /**
   * Take in what a list of jobs says of it; its images, if it is over or the list does not have it.
   * @param {import("../types").Job | undefined} listed
   */
  async look(listed) {
    try {
      if (listed && UNFINISHED.includes(listed.state)) this.#noteListed(listed);
      else await this.#finish();
    } catch (error) {
      if (!passes(error)) this.#fail(error);
    }
  }

  async cancel() {
    try {
      await send(this.url, { method: "DELETE" });
    } catch (error) {
      if (!passes(error)) this.#fail(error);
    }
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

  /** @param {import("../types").Job} job */
  #noteListed(job) {
    [this.state.value, this.position.value, this.loading.value] = [job.state, job.position, job.loading];
    [this.done.value, this.total.value, this.remainingS.value] = [job.steps_done, job.steps_total, job.remaining_s];
    this.restarts.value = job.restarts;
  }

  /** @param {AbortSignal} [signal] */
  async #finish(signal) {
    const limits = [AbortSignal.timeout(RESULT_MS), ...(signal ? [signal] : [])];
    const job = /** @type {import("../types").JobResult} */ (await getJson(this.url, AbortSignal.any(limits)));
    if (UNFINISHED.includes(job.state)) {
      this.#noteListed(job);
      throw new Unreachable(); // its events have ended, yet it has not: ask again
    }
    this.result.value = job.result;
    this.problem.value = job.problem;
    this.state.value = job.state;
  }

  /** @param {unknown} error */
  #fail(error) {
    if (!(error instanceof ApiError)) throw error;
    this.problem.value = { title: error.title, detail: error.message, code: error.code };
    this.state.value = "failed";
  }
}

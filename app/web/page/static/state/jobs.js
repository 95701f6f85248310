/** Jobs that this page has sent or found unfinished. */
import { computed, signal } from "@preact/signals";
import { ApiError, Unreachable, poll, send } from "../api/http.js";
import { body, model, picture } from "./form.js";
import { LiveJob, UNFINISHED } from "./live_job.js";
import { mask, maskTaken } from "./mask.js";
import { personal } from "./personal.js";

/** The newest first. */
export const jobs = personal(/** @type {LiveJob[]} */ ([]));
/** The one that is shown large; null for the newest. */
export const chosen = personal(/** @type {LiveJob | null} */ (null));
export const shown = computed(() => chosen.value ?? jobs.value[0] ?? null);
/** Why the last request was refused. */
export const refused = personal(/** @type {ApiError | Error | null} */ (null));
export const sending = signal(false);
/** Number of the jobs here that have ended: lists of jobs read them again when it changes. */
export const endings = computed(() => jobs.value.filter((job) => job.over.value).length);

const MOST = 24;

/** Send the request that is being composed. */
export async function generate() {
  if (sending.value || !model.value) return;
  sending.value = true;
  try {
    await maskTaken();
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
  jobs.value = [new LiveJob(job), ...jobs.value].slice(0, MOST);
  chosen.value = null;
}

/** Errors that the page tells elsewhere: the server is away, or wants a key. @param {unknown} error @returns {never[]} */
function nothing(error) {
  if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
  return [];
}

/** Find the unfinished jobs of this client that were sent before the page was opened. */
export async function findUnfinished() {
  const lists = await Promise.all(UNFINISHED.map((state) => poll(`jobs?state=${state}&limit=${MOST}`))).catch(nothing);
  const known = new Set(jobs.value.map((job) => job.id));
  const found = /** @type {import("../types").Job[]} */ (lists.flat()).filter((job) => !known.has(job.id));
  found.sort((one, other) => one.created.localeCompare(other.created)).forEach(add);
}

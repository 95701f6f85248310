/** The memory manager's books, the line, and the pace of the last minutes; read while the memory is shown. */
import { signal } from "@preact/signals";
import { ApiError, Unreachable, poll, postJson, send } from "../api/http.js";
import { personal } from "./personal.js";
import { locked, refresh, whileSeen } from "./server.js";

const EVERY_MS = 1000;
const PACE_MS = 3000;
const KEPT = 200;

/** @typedef {{at: number, images: number}} Sample */

export const pool = personal(/** @type {import("../types").Pool | null} */ (null));
export const line = personal(/** @type {import("../types").Job[]} */ ([]));
/** Finished images since the server's start, at moments of the last minutes. */
export const samples = signal(/** @type {Sample[]} */ ([]));
export const failure = signal("");
/** Why the last load, unload or pin was refused; until the next one. */
export const moveFailure = personal("");
/** Whether this server has no books to show: workers of a cluster keep them, or the host leaves the route out. */
export const withoutBooks = signal(false);

async function read() {
  try {
    if (!withoutBooks.value) await readBooks();
    const lists = await Promise.all(["running", "loading", "queued"].map((state) => poll(`jobs?state=${state}&limit=20`)));
    line.value = /** @type {import("../types").Job[]} */ (lists.flat());
    failure.value = "";
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
    failure.value = error.message;
  }
}

async function readBooks() {
  try {
    pool.value = await poll("pool");
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error;
    withoutBooks.value = true;
  }
}

/** Note how many images there are: a counter of `GET /metrics`. */
async function sample() {
  if (locked.value) return;
  const text = await (await send("metrics", { headers: { accept: "text/plain" } })).text();
  const counted = [...text.matchAll(/^litestar_diffusion_images_total(?:\{[^}]*\})? ([\d.e+]+)$/gm)];
  const images = counted.reduce((sum, match) => sum + Number(match[1]), 0);
  samples.value = [...samples.value, { at: Date.now(), images }].slice(-KEPT);
}

/** Sample the pace for as long as the page is open, in every view. */
export const watchPace = () => whileSeen(() => sample().catch(ignored), PACE_MS);

/** Who may make images may not always read metrics. @param {unknown} error */
function ignored(error) {
  if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
}

export const watchPool = () => whileSeen(read, EVERY_MS);

/**
 * Load, unload, pin or unpin a model.
 * @param {string} name
 * @param {"load" | "unload" | "pin" | "unpin"} what
 */
export async function act(name, what) {
  try {
    await postJson(`models/${encodeURIComponent(name)}/${what}`);
    moveFailure.value = "";
  } catch (error) {
    moveFailure.value = /** @type {Error} */ (error).message;
  }
  await Promise.all([read(), refresh()]);
}

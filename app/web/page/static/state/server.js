/** What the server is and has: facts, models, adapters, samplers. Kept fresh while the page is seen. */
import { computed, signal } from "@preact/signals";
import { ApiError, isAway, key, needsKey, poll, setKey } from "../api/http.js";
import { forgetAll } from "./personal.js";

const EVERY_MS = 3000;

/** @type {import("@preact/signals").Signal<import("../types").Service | null>} */
export const service = signal(null);
/** @type {import("@preact/signals").Signal<import("../types").Model[]>} */
export const models = signal([]);
/** @type {import("@preact/signals").Signal<import("../types").Adapter[]>} */
export const adapters = signal([]);
/** @type {import("@preact/signals").Signal<import("../types").Sampler[]>} */
export const samplers = signal([]);
/** Names of upscalers. @type {import("@preact/signals").Signal<string[]>} */
export const upscalers = signal([]);

/** `lost` while the server does not answer; `back` for a while after it answers again. */
export const connection = signal(/** @type {"ok" | "lost" | "back"} */ ("ok"));

/** Whether a key must be entered before anything else can be done. */
export const locked = computed(() => needsKey && service.value === null);

export const usableModels = computed(() => models.value.filter((model) => model.usable));

const BACK_MS = 6000;

/** The key whose client sees what the page holds. */
let owner = key.value;

/** Ask for everything that changes; the rest only once, and again after the connection was lost. */
export async function refresh() {
  if (needsKey && !key.value) {
    service.value = null;
    return;
  }
  const asked = key.value;
  try {
    const [facts, list] = await Promise.all([poll("./"), poll("models")]);
    if (key.value !== asked) return; // signed out or in since then
    if (asked !== owner) handOver(asked);
    [service.value, models.value] = [facts, list];
    if (!samplers.value.length || connection.value === "lost") await readLists();
    noteAnswer();
  } catch (error) {
    if (key.value !== asked) return;
    if (isAway(error)) connection.value = "lost";
    else if (error instanceof ApiError && error.status === 401) service.value = null;
    else if (!(error instanceof ApiError)) throw error;
  }
}

/** Forget what the client before saw. @param {string} next key of the client that follows; "" for none */
function handOver(next) {
  if (owner) forgetAll();
  owner = next;
}

export function signOut() {
  setKey("");
  handOver("");
  void refresh();
}

async function readLists() {
  [adapters.value, samplers.value] = await Promise.all([poll("adapters"), poll("samplers")]);
  const found = /** @type {{name: string, usable: boolean}[]} */ (await poll("upscalers"));
  upscalers.value = found.filter((each) => each.usable).map((each) => each.name);
}

function noteAnswer() {
  if (connection.value !== "lost") return;
  connection.value = "back";
  setTimeout(() => {
    if (connection.value === "back") connection.value = "ok";
  }, BACK_MS);
}

/**
 * Call a function now and again, as long as the page is seen. An error of one call does not end the calls.
 * @param {() => Promise<void>} work
 * @param {number} everyMs
 * @returns {() => void} which ends it
 */
export function whileSeen(work, everyMs) {
  let ended = false;
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  const turn = async () => {
    try {
      if (document.visibilityState === "visible") await work();
    } finally {
      if (!ended) timer = setTimeout(turn, everyMs);
    }
  };
  void turn();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

export const keepFresh = () => whileSeen(refresh, EVERY_MS);

/** The dry run of the request that is being composed: defaults, tokens, cost, warnings. */
import { effect } from "@preact/signals";
import { ApiError, Unreachable, postJson } from "../api/http.js";
import { OF_MASKS, OF_PICTURES, body, forgetDefaults, model, modelDefaults, picture, stated } from "./form.js";
import { endings } from "./jobs.js";
import { without } from "./parameters.js";
import { personal } from "./personal.js";
import { connection, locked } from "./server.js";

const PAUSE_MS = 350;

/** What would happen to the request; null before it is known. */
export const plan = personal(/** @type {import("../types").DryRun | null} */ (null));
/** Why it would be refused. */
export const refusal = personal(/** @type {ApiError | null} */ (null));

let asked = new AbortController();

/** Plan the request again whenever it changes, after a pause of typing. @returns {() => void} which ends it */
export function keepPlanning() {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const ends = [
    effect(() => {
      const [name, request] = [model.value, body.value];
      void endings.value; // a finished job teaches the server how long such a request takes
      if (!name || locked.value || connection.value === "lost") return;
      clearTimeout(timer);
      timer = setTimeout(() => void planned(name, without(request, [...OF_PICTURES, ...OF_MASKS])), PAUSE_MS);
    }),
    effect(() => {
      if (model.value && !locked.value) void readDefaults(model.value);
    }),
  ];
  return () => ends.forEach((end) => end());
}

/**
 * @param {string} name
 * @param {import("../types").Parameters} request
 */
async function planned(name, request) {
  asked.abort();
  asked = new AbortController();
  try {
    plan.value = await postJson(dryRun(name), request, asked.signal);
    refusal.value = null;
  } catch (error) {
    if (error instanceof ApiError) refusal.value = error.status === 429 ? refusal.value : error;
    else if (!(error instanceof Unreachable || error instanceof DOMException)) throw error;
  }
}

/** @param {string} name */
async function readDefaults(name) {
  try {
    const found = /** @type {import("../types").DryRun} */ (await postJson(dryRun(name), { prompt: "" }));
    const { prompt: _prompt, seed: _seed, model_version: _version, ...parameters } = found.parameters;
    modelDefaults.value = /** @type {any} */ ({ strength: 0.6, mask_blur_px: 4, ...parameters });
    forgetDefaults();
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
  }
}

/** @param {string} name */
const dryRun = (name) => `generate/${encodeURIComponent(name)}?dry_run=true`;

/** Estimated seconds of the request, with what a picture saves of its steps; null if they are not known. */
export function estimatedS() {
  const { total_s: total = null, run_s: run = null } = plan.value?.estimate ?? {};
  if (total === null || run === null || picture.value === null) return total;
  return total - run + run * (stated.value.strength ?? 0.6);
}

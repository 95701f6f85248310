/** The request that is being composed: a model, a prompt, and what differs from the model's defaults. */
import { computed, effect, signal } from "@preact/signals";
import { needsKey } from "../api/http.js";
import { personal } from "./personal.js";
import { service, usableModels } from "./server.js";
import { store, stored } from "./storage.js";

/** @typedef {Partial<import("../types").Parameters>} Stated */

/** Fields that the page has controls for. */
export const SHOWN = /** @type {const} */ ([
  "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "sampler", "schedule", "seed", "n",
  "output_format", "adapters", "strength", "mask_blur_px", "mask_invert", "hires",
]);

const nothing = { model: "", prompt: "", stated: /** @type {Stated} */ ({}) };
/** With keys it is kept as long as the key: in the tab. */
const kept = stored("form", nothing, needsKey);

export const chosenModel = personal("", kept.model);
export const prompt = personal("", kept.prompt);
/** What the person has stated; everything else has the model's defaults. */
export const stated = personal(/** @type {Stated} */ ({}), kept.stated);
/** The parameters as the server resolves them for the chosen model, without anything stated. */
export const defaults = signal(/** @type {Stated} */ ({}));
export const picture = personal(/** @type {File | null} */ (null));
export const mask = personal(/** @type {Blob | null} */ (null));

effect(() => store("form", { model: chosenModel.value, prompt: prompt.value, stated: stated.value }, needsKey));

/** Name of the model that the request is for: the chosen one, else the server's default, else the first. */
export const model = computed(() => {
  const names = usableModels.value.map((each) => each.name);
  if (names.includes(chosenModel.value)) return chosenModel.value;
  return service.value?.default_model ?? names[0] ?? "";
});

/**
 * State a parameter; `undefined` takes the default again.
 * @template {keyof Stated} Name
 * @param {Name} name
 * @param {Stated[Name] | undefined} value
 */
export function state(name, value) {
  const { [name]: _, ...others } = stated.value;
  stated.value = value === undefined ? others : { ...others, [name]: value };
}

/**
 * Value of a parameter: the stated one, else the default.
 * @template {keyof Stated} Name
 * @param {Name} name
 */
export const valueOf = (name) => stated.value[name] ?? defaults.value[name];

/** @param {keyof Stated} name */
export const differs = (name) =>
  stated.value[name] !== undefined && JSON.stringify(stated.value[name]) !== JSON.stringify(defaults.value[name]);

/** Stated parameters that the page has no control for, such as those of a receipt. */
export const unshown = computed(() =>
  /** @type {(keyof Stated)[]} */ (Object.keys(stated.value)).filter(
    (name) => !(/** @type {readonly string[]} */ (SHOWN).includes(name)),
  ),
);

export function forgetUnshown() {
  const names = unshown.value;
  stated.value = Object.fromEntries(Object.entries(stated.value).filter(([name]) => !names.includes(/** @type {any} */ (name))));
}

/** The JSON body of the request, without pictures. */
export const body = computed(() => {
  const { strength, mask_blur_px, mask_invert, ...others } = stated.value;
  const ofPictures = picture.value === null ? {} : { strength, ...(mask.value === null ? {} : { mask_blur_px, mask_invert }) };
  return /** @type {import("../types").Parameters} */ ({ prompt: prompt.value, ...others, ...defined(ofPictures) });
});

/** @param {Record<string, unknown>} values */
function defined(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/**
 * Take over a request, such as that of an earlier image, to make it again or to change it.
 * @param {string} name of the model
 * @param {Stated} parameters
 */
export function takeOver(name, parameters) {
  const { prompt: text = "", image: _image, mask: _mask, ...others } = parameters;
  chosenModel.value = name;
  prompt.value = text;
  stated.value = defined(others);
}

export function reset() {
  stated.value = {};
  picture.value = null;
  mask.value = null;
}

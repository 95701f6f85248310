/** The request that is being composed: a model, a prompt, and what differs from the model's defaults. */
import { computed, effect, signal } from "@preact/signals";
import { needsKey } from "../api/http.js";
import { dropMask, mask } from "./mask.js";
import { personal } from "./personal.js";
import { checked, essential, isRecord, isText, without, withoutEqual } from "./parameters.js";
import { service, usableModels } from "./server.js";
import { store, stored } from "./storage.js";

const OTHER_PICTURE = "The image began from a picture, which its settings do not contain: choose that picture, if it is not in the form.";

/** @typedef {import("./parameters.js").Stated} Stated */

/** Fields that the page has controls for. */
export const SHOWN = /** @type {const} */ ([
  "negative_prompt", "width", "height", "num_inference_steps", "guidance_scale", "sampler", "schedule", "seed", "n",
  "output_format", "adapters", "strength", "mask_blur_px", "mask_invert", "hires",
]);

/** Parameters that act only on a picture, and only with a mask. */
export const OF_PICTURES = ["strength", "resize"];
export const OF_MASKS = ["mask_blur_px", "mask_invert", "mask_content", "mask_padding_px"];

/** The form as it was left. With keys it is kept as long as the key: in the tab. */
const kept = keptForm(stored("form", {}, needsKey));

/** @param {unknown} values */
function keptForm(values) {
  const { model, prompt, stated } = isRecord(values) ? values : {};
  return { model: isText(model) ? model : "", prompt: isText(prompt) ? prompt : "", stated: checked(stated).stated };
}

export const chosenModel = personal("", kept.model);
export const prompt = personal("", kept.prompt);
/** What the person has stated; everything else has the model's defaults. */
export const stated = personal(/** @type {Stated} */ ({}), kept.stated);
/** The parameters as the server resolves them for the chosen model, without anything stated. */
export const modelDefaults = signal(/** @type {Stated} */ ({}));
export const picture = personal(/** @type {File | null} */ (null));
/** What a request that was taken over could not bring with it. */
export const remarks = personal(/** @type {string[]} */ ([]));
/** What holds for parameters that are not stated; a picture brings its own size. */
export const defaults = computed(() => (picture.value === null ? modelDefaults.value : without(modelDefaults.value, ["width", "height"])));

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
  stated.value = without(stated.value, names);
}

/** The JSON body of the request, without pictures. */
export const body = computed(() => {
  const idle = picture.value === null ? [...OF_PICTURES, ...OF_MASKS] : mask.value === null ? OF_MASKS : [];
  return /** @type {import("../types").Parameters} */ ({ prompt: prompt.value, ...without(stated.value, idle) });
});

/** Take the defaults for what equals them. */
export function forgetDefaults() {
  stated.value = withoutEqual(stated.value, /** @type {Record<string, unknown>} */ (defaults.value));
}

/**
 * Take over a request, such as a preset; a picture in the form stays.
 * @param {string} name of the model
 * @param {unknown} parameters
 */
export function takeOver(name, parameters) {
  const { stated: taken, wrong } = checked(parameters);
  chosenModel.value = name;
  prompt.value = taken.prompt ?? "";
  stated.value = without(taken, ["prompt", "image", "mask"]);
  remarks.value = wrong.length ? [`Left out, because the values are not valid: ${wrong.join(", ")}.`] : [];
}

/**
 * Take over the request of an earlier image, to make it again or to change it.
 * @param {string} name of the model
 * @param {unknown} parameters as the server resolved them
 */
export function replay(name, parameters) {
  const made = checked(parameters).stated;
  const known = name === model.value;
  if (!made.image_sha256) picture.value = null;
  if (!made.mask_sha256) dropMask();
  takeOver(name, isRecord(parameters) ? essential(parameters) : {});
  if (made.image_sha256) remarks.value = [...remarks.value, OTHER_PICTURE];
  if (known) forgetDefaults();
}

/** Begin from another picture, or from none; the mask of the one before goes. @param {File | null} file */
export function takePicture(file) {
  picture.value = file;
  dropMask();
  remarks.value = [];
}

export function reset() {
  stated.value = {};
  takePicture(null);
}

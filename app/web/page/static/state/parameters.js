/** Parameters from outside, such as receipts of images and the browser's storage. Pure functions. */

/** @typedef {Partial<import("../types").Parameters>} Stated */

/** @param {unknown} value @returns {value is Record<string, unknown>} */
export const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** @param {unknown} value @returns {value is string} */
export const isText = (value) => typeof value === "string";
const isNumber = (/** @type {unknown} */ value) => typeof value === "number" && Number.isFinite(value);
const isBoolean = (/** @type {unknown} */ value) => typeof value === "boolean";
const isHires = (/** @type {unknown} */ value) => isRecord(value) && isNumber(value.scale ?? 1) && isText(value.upscaler ?? "");
const areAdapters = (/** @type {unknown} */ value) =>
  Array.isArray(value) && value.every((each) => isRecord(each) && isText(each.name) && isNumber(each.weight ?? 1));

/** @type {Map<string, (value: unknown) => boolean>} */
const TESTS = new Map();
for (const name of ["prompt", "negative_prompt", "sampler", "schedule", "output_format"]) TESTS.set(name, isText);
for (const name of ["width", "height", "num_inference_steps", "guidance_scale", "seed", "n", "strength", "mask_blur_px"]) TESTS.set(name, isNumber);
TESTS.set("mask_invert", isBoolean).set("hires", isHires).set("adapters", areAdapters);

/**
 * Return the parameters that the form can show, and the names of those whose values it cannot; parameters without a control are
 * for the server to judge.
 * @param {unknown} values
 * @returns {{stated: Stated, wrong: string[]}}
 */
export function checked(values) {
  const given = Object.entries(isRecord(values) ? values : {}).filter(([, value]) => value !== null && value !== undefined);
  const wrong = given.filter(([name, value]) => TESTS.get(name)?.(value) === false).map(([name]) => name);
  const stated = /** @type {Stated} */ (without(Object.fromEntries(given), wrong));
  if (stated.adapters) stated.adapters = stated.adapters.map((each) => ({ ...each, weight: each.weight ?? 1 }));
  return { stated, wrong };
}

/** Digests of files: they are compared with files that the form may not have, and that a change of it replaces. */
const DIGESTS = ["image_sha256", "mask_sha256", "model_version"];

/**
 * Leave out of resolved parameters what follows from the others, so that a change of these changes it, too.
 * @param {Stated} made
 * @returns {Stated}
 */
export function essential(made) {
  const size = [made.height, made.width];
  const followed = /** @type {Record<string, unknown>} */ ({
    prompt_2: made.prompt,
    negative_prompt_2: made.negative_prompt,
    original_size: size,
    crop: [0, 0],
    target_size: size,
    negative_original_size: made.original_size,
    negative_crop: made.crop,
    negative_target_size: made.target_size,
  });
  return withoutEqual(without(made, DIGESTS), followed);
}

/**
 * @template {object} T
 * @param {T} values
 * @param {string[]} names
 */
export const without = (values, names) =>
  /** @type {T} */ (Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name))));

/**
 * @template {object} T
 * @param {T} values
 * @param {Record<string, unknown>} others
 */
export const withoutEqual = (values, others) =>
  without(values, Object.entries(values).filter(([name, value]) => JSON.stringify(others[name]) === JSON.stringify(value)).map(([name]) => name));

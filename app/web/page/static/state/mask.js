/** The mask of the picture. It is encoded in the background, so a later one, or none, makes an earlier one void. */
import { personal, whenForgotten } from "./personal.js";

export const mask = personal(/** @type {Blob | null} */ (null));

let newest = 0;
/** @type {Promise<void>} */
let taken = Promise.resolve();

/** Take a mask once it is encoded; null is none. @param {Promise<Blob | null>} encoding */
export function takeMask(encoding) {
  const own = ++newest;
  taken = encoding.then((encoded) => {
    if (own === newest) mask.value = encoded;
  });
}

export function dropMask() {
  newest += 1;
  mask.value = null;
}

/** Ends when no mask is being encoded any more. */
export const maskTaken = () => taken;

whenForgotten(dropMask);

/** JSON in the storage of the browser, or of the tab, which ends with it; what cannot be kept is forgotten. */
const PREFIX = "litestar-diffusion.";

/**
 * @template T
 * @param {string} name
 * @param {T} otherwise
 * @param {boolean} [ofTab]
 * @returns {T}
 */
export function stored(name, otherwise, ofTab = false) {
  try {
    return JSON.parse(place(ofTab).getItem(PREFIX + name) ?? "null") ?? otherwise;
  } catch {
    return otherwise;
  }
}

/**
 * @param {string} name
 * @param {unknown} value
 * @param {boolean} [ofTab]
 */
export function store(name, value, ofTab = false) {
  try {
    place(ofTab).setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // The storage is full or forbidden: the page works without it.
  }
}

/** @param {boolean} ofTab */
const place = (ofTab) => (ofTab ? sessionStorage : localStorage);

/** Numbers as people read them. */

/** @param {number} nbytes */
export function bytes(nbytes) {
  if (nbytes < 1e6) return `${(nbytes / 1e3).toFixed(0)} kB`;
  if (nbytes < 1e9) return `${(nbytes / 1e6).toFixed(nbytes < 1e7 ? 1 : 0)} MB`;
  return `${(nbytes / 1e9).toFixed(nbytes < 1e10 ? 2 : 1)} GB`;
}

/** @param {number} s */
export function seconds(s) {
  if (s < 0.0995) return `${Math.max(1, Math.round(s * 1000))} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}

/** @param {number} s since then */
export const ago = (s) => (s < 2 ? "now" : `${seconds(s)} ago`);

/**
 * @param {number} count
 * @param {string} noun
 */
export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

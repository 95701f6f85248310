/** Which parts of a prompt have a meaning: weights, adapters, prompts that change, `AND`. For colours only: the server reads it. */

/** @typedef {{text: string, kind: "text" | "weight" | "adapter" | "unknown" | "edit" | "and"}} Part */

const PARTS = /<lora:([^:<>]+)(?::[^<>]*)?>|\((?:[^()\\]|\\.)*:\s*[\d.]+\s*\)|\[(?:[^[\]\\]|\\.)*[:|](?:[^[\]\\]|\\.)*\]|\bAND\b/g;

/**
 * Cut a prompt into its parts.
 * @param {string} prompt
 * @param {readonly string[]} adapters names that exist
 * @returns {Part[]}
 */
export function partsOf(prompt, adapters) {
  /** @type {Part[]} */
  const parts = [];
  let at = 0;
  for (const match of prompt.matchAll(PARTS)) {
    if (match.index > at) parts.push({ text: prompt.slice(at, match.index), kind: "text" });
    parts.push({ text: match[0], kind: kindOf(match, adapters) });
    at = match.index + match[0].length;
  }
  if (at < prompt.length) parts.push({ text: prompt.slice(at), kind: "text" });
  return parts;
}

/**
 * @param {RegExpMatchArray} match
 * @param {readonly string[]} adapters
 * @returns {Part["kind"]}
 */
function kindOf(match, adapters) {
  if (match[1] !== undefined) return adapters.includes(match[1].trim()) ? "adapter" : "unknown";
  if (match[0] === "AND") return "and";
  return match[0].startsWith("(") ? "weight" : "edit";
}

/** What the memory manager decided lately, and why. */
import { html } from "../html.js";
import { ago, bytes, seconds } from "../parts/units.js";

const WORDS = /** @type {Record<string, string>} */ ({
  model_loaded: "loaded from disk", model_moved: "moved to the device", model_placed: "moved to the device", model_offloaded: "dropped from the device",
  model_unloaded: "left memory", adapter_loaded: "loaded from disk", adapter_unloaded: "left memory",
});

/** @param {{decisions: import("../types").Decision[]}} props */
export function Decisions({ decisions }) {
  const now = Date.now() / 1000;
  if (!decisions.length) return html`<p class="hint">Nothing in the last quarter of an hour.</p>`;
  return html`<ol class="decisions">
    ${decisions.slice(0, 30).map((each) => html`<li key=${`${each.at} ${each.what}`}>
      <time>${ago(Math.max(0, now - each.at))}</time>
      <span><strong>${subject(each.facts)}</strong> ${WORDS[each.what] ?? each.what.replaceAll("_", " ")} ${amount(each.facts)}
        ${each.facts["reason"] ? html`<em>${String(each.facts["reason"])}</em>` : null}</span>
    </li>`)}
  </ol>`;
}

/** @param {Record<string, any>} facts */
const subject = (facts) => facts["model"] ?? facts["adapter"] ?? facts["vae"] ?? facts["name"] ?? "";

/** @param {Record<string, any>} facts */
function amount(facts) {
  const parts = [facts["nbytes"] ? bytes(facts["nbytes"]) : "", facts["seconds"] ? `in ${seconds(facts["seconds"])}` : ""];
  return parts.filter(Boolean).join(" ");
}

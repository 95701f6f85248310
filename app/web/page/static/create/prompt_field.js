/** A text area whose weights and adapters are coloured, with the number of its tokens. */
import { useId, useRef } from "preact/hooks";
import { html } from "../html.js";
import { plan } from "../state/plan.js";
import { adapters } from "../state/server.js";
import { plural } from "../parts/units.js";
import { partsOf } from "./prompt_syntax.js";

/**
 * @param {{field: string, label: string, value: string, placeholder?: string, rows: number, onValue: (text: string) => void}} props
 */
export function PromptField({ field, label, value, placeholder = "", rows, onValue }) {
  const id = useId();
  const colours = useRef(/** @type {HTMLDivElement | null} */ (null));
  const facts = plan.value?.prompts.find((each) => each.field === field);
  const names = adapters.value.map((each) => each.name);
  const onScroll = (/** @type {any} */ event) => {
    if (colours.current !== null) colours.current.scrollTop = event.currentTarget.scrollTop;
  };
  return html`<div class="field prompt">
    <div class="field-top">
      <label for=${id}>${label}</label>
      <span class="tokens" aria-live="off">${value && facts ? `${plural(facts.tokens, "token")}${facts.chunks > 1 ? `, ${facts.chunks} chunks` : ""}` : ""}</span>
    </div>
    <div class="coloured">
      <div class="colours" ref=${colours} aria-hidden="true">
        ${partsOf(value, names).map((part) => (part.kind === "text" ? part.text : html`<mark class=${part.kind}>${part.text}</mark>`))}${"\n"}
      </div>
      <textarea id=${id} rows=${rows} value=${value} placeholder=${placeholder} spellcheck="false"
        onInput=${(/** @type {any} */ event) => onValue(event.currentTarget.value)} onScroll=${onScroll}></textarea>
    </div>
  </div>`;
}

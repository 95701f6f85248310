/** Adapters of the request, each with its weight. */
import { useId } from "preact/hooks";
import { html } from "../html.js";
import { prompt, state, stated } from "../state/form.js";
import { adapters } from "../state/server.js";

/** @typedef {import("../types").AdapterChoice} Choice */

export function AdapterPicker() {
  const id = useId();
  const chosen = /** @type {Choice[]} */ (stated.value.adapters ?? []);
  const usable = adapters.value.filter((each) => each.usable && !chosen.some((one) => one.name === each.name));
  if (!adapters.value.length && !chosen.length) return null;
  const put = (/** @type {Choice[]} */ choices) => state("adapters", choices.length ? choices : undefined);
  const onAdd = (/** @type {any} */ event) => {
    const { value } = event.currentTarget;
    event.currentTarget.value = "";
    if (value) put([...chosen, { name: value, weight: 1 }]);
  };
  return html`<div class="field">
    <div class="field-top"><label for=${id}>Adapters (LoRA)</label></div>
    ${chosen.map((each, index) => html`<${ChosenAdapter} key=${each.name} choice=${each}
      onChange=${(/** @type {Choice} */ changed) => put(chosen.with(index, changed))}
      onRemove=${() => put(chosen.toSpliced(index, 1))} />`)}
    ${usable.length
      ? html`<select id=${id} onChange=${onAdd}>
          <option value="">Add an adapter…</option>
          ${usable.map((each) => html`<option key=${each.name} value=${each.name}>${each.facts?.title ? `${each.name} · ${each.facts.title}` : each.name}</option>`)}
        </select>`
      : html`<span id=${id} class="hint">${chosen.length ? "All adapters are in use." : "None can be used."}</span>`}
  </div>`;
}

/** @param {{choice: Choice, onChange: (changed: Choice) => void, onRemove: () => void}} props */
function ChosenAdapter({ choice, onChange, onRemove }) {
  const id = useId();
  const words = adapters.value.find((each) => each.name === choice.name)?.facts?.trigger_words ?? [];
  const missing = words.filter((word) => !prompt.value.includes(word));
  return html`<div class="chosen-adapter">
    <label for=${id}>${choice.name}</label>
    <input id=${id} type="range" min="-1" max="2" step="0.05" value=${choice.weight}
      onInput=${(/** @type {any} */ event) => onChange({ ...choice, weight: event.currentTarget.valueAsNumber })} />
    <output for=${id}>${choice.weight.toFixed(2)}</output>
    <button type="button" class="quiet" onClick=${onRemove} aria-label=${`Remove ${choice.name}`}>×</button>
    ${missing.length
      ? html`<div class="words">Trigger words: ${missing.map((word) => html`<button key=${word} type="button" class="word" onClick=${() => (prompt.value = `${word} ${prompt.value}`.trim())}>+ ${word}</button>`)}</div>`
      : null}
  </div>`;
}

/** The seed: random for each request, or locked. */
import { useId } from "preact/hooks";
import { html } from "../html.js";
import { state, stated } from "../state/form.js";

const MOST = 2 ** 32;

export function SeedField() {
  const id = useId();
  const seed = stated.value.seed;
  const roll = () => state("seed", Math.floor(Math.random() * MOST));
  const onInput = (/** @type {any} */ event) => {
    const { value } = event.currentTarget;
    state("seed", /^\d+$/.test(value) ? Number(value) : undefined);
  };
  return html`<div class=${`field seed${seed === undefined ? "" : " changed"}`}>
    <div class="field-top"><label for=${id}>Seed</label>
      ${seed === undefined ? null : html`<button type="button" class="quiet back" onClick=${() => state("seed", undefined)}>unlock</button>`}</div>
    <div class="joined">
      <input id=${id} type="text" inputmode="numeric" pattern="[0-9]*" value=${seed ?? ""} placeholder="random" onInput=${onInput} />
      <button type="button" onClick=${roll} aria-label="Lock a random seed" title="Lock a random seed">
        <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><rect x="1.5" y="1.5" width="13" height="13" rx="3" fill="none" stroke="currentColor" stroke-width="1.4"/><circle cx="5" cy="5" r="1.2" fill="currentColor"/><circle cx="11" cy="11" r="1.2" fill="currentColor"/><circle cx="8" cy="8" r="1.2" fill="currentColor"/></svg>
      </button>
    </div>
  </div>`;
}

/** Requests that the person has kept under a name, in this browser. */
import { signal } from "@preact/signals";
import { useId, useState } from "preact/hooks";
import { html } from "../html.js";
import { body, model, takeOver } from "../state/form.js";
import { isRecord, isText } from "../state/parameters.js";
import { store, stored } from "../state/storage.js";

/** @typedef {{name: string, model: string, body: import("../state/form.js").Stated}} Preset */

const presets = signal(read());
addEventListener("storage", () => (presets.value = read()));

/** @returns {Preset[]} */
function read() {
  const kept = stored("presets", /** @type {unknown} */ ([]));
  return Array.isArray(kept) ? kept.filter((each) => isRecord(each) && isText(each.name) && isText(each.model)) : [];
}

/** Change what the storage has, which other tabs may have changed since. @param {(kept: Preset[]) => Preset[]} change */
function keep(change) {
  presets.value = change(read());
  store("presets", presets.value);
}

export function Presets() {
  const id = useId();
  const [name, setName] = useState("");
  const onSave = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (!name.trim()) return;
    const preset = { name: name.trim(), model: model.value, body: body.value };
    keep((kept) => [preset, ...kept.filter((each) => each.name !== preset.name)]);
    setName("");
  };
  return html`<details class="more">
    <summary>Presets</summary>
    <ul class="presets">
      ${presets.value.map((each) => html`<li key=${each.name}>
        <button type="button" onClick=${() => takeOver(each.model, each.body)}>${each.name}</button>
        <button type="button" class="quiet" aria-label=${`Remove the preset ${each.name}`} onClick=${() => keep((kept) => kept.filter((other) => other.name !== each.name))}>×</button>
      </li>`)}
    </ul>
    <form class="joined" onSubmit=${onSave}>
      <label class="unseen" for=${id}>Name of the preset</label>
      <input id=${id} value=${name} placeholder="Name" onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} />
      <button type="submit" disabled=${!name.trim()}>Keep</button>
    </form>
  </details>`;
}

/** Requests that the person has kept under a name, in this browser. */
import { signal } from "@preact/signals";
import { useId, useState } from "preact/hooks";
import { html } from "../html.js";
import { body, model, takeOver } from "../state/form.js";
import { store, stored } from "../state/storage.js";

/** @typedef {{name: string, model: string, body: import("../state/form.js").Stated}} Preset */

const presets = signal(stored("presets", /** @type {Preset[]} */ ([])));

/** @param {Preset[]} all */
function keep(all) {
  presets.value = all;
  store("presets", all);
}

export function Presets() {
  const id = useId();
  const [name, setName] = useState("");
  const onSave = (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (!name.trim()) return;
    const others = presets.value.filter((each) => each.name !== name.trim());
    keep([{ name: name.trim(), model: model.value, body: body.value }, ...others]);
    setName("");
  };
  return html`<details class="more">
    <summary>Presets</summary>
    <ul class="presets">
      ${presets.value.map((each) => html`<li key=${each.name}>
        <button type="button" onClick=${() => takeOver(each.model, each.body)}>${each.name}</button>
        <button type="button" class="quiet" aria-label=${`Remove the preset ${each.name}`} onClick=${() => keep(presets.value.filter((other) => other !== each))}>×</button>
      </li>`)}
    </ul>
    <form class="joined" onSubmit=${onSave}>
      <label class="unseen" for=${id}>Name of the preset</label>
      <input id=${id} value=${name} placeholder="Name" onInput=${(/** @type {any} */ event) => setName(event.currentTarget.value)} />
      <button type="submit" disabled=${!name.trim()}>Keep</button>
    </form>
  </details>`;
}

/** Controls of forms: each has a label, shows the default, and marks what differs from it. */
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { html } from "../html.js";
import { defaults, differs, state, stated } from "../state/form.js";

/**
 * A labelled control with its mark and its way back to the default.
 * @param {{name?: any, label: string, id: string, hint?: string, children?: any}} props
 */
export function Field({ name, label, id, hint, children }) {
  const changed = name !== undefined && differs(name);
  const back = () => state(name, undefined);
  return html`<div class=${`field${changed ? " changed" : ""}`}>
    <div class="field-top">
      <label for=${id}>${label}</label>
      ${changed
        ? html`<button type="button" class="quiet back" onClick=${back} aria-label=${`${label}: back to ${defaults.value[/** @type {"seed"} */ (name)] ?? "the default"}`}>reset</button>`
        : null}
    </div>
    ${children}
    ${hint ? html`<p class="hint" id=${`${id}-hint`}>${hint}</p>` : null}
  </div>`;
}

/**
 * A number, whose text is the browser's while it is typed: a controlled field would rewrite "7." to "7" before the 5 of 7.5.
 * @param {{name: any, label: string, min?: number, max?: number, step?: number | "any", hint?: string, otherwise?: string}} props
 */
export function NumberField({ name, label, min, max, step = 1, hint, otherwise = "" }) {
  const id = useId();
  const field = /** @type {"num_inference_steps"} */ (name);
  const input = useRef(/** @type {HTMLInputElement | null} */ (null));
  const entered = useRef(/** @type {number | undefined} */ (undefined));
  const value = stated.value[field] ?? undefined;
  useLayoutEffect(() => {
    if (input.current === null || value === entered.current) return;
    entered.current = value;
    input.current.value = String(value ?? "");
  }, [value]);
  const onInput = (/** @type {any} */ event) => {
    const { valueAsNumber } = event.currentTarget;
    entered.current = Number.isNaN(valueAsNumber) ? undefined : valueAsNumber;
    state(field, entered.current);
  };
  const onBlur = (/** @type {any} */ event) => {
    if (event.currentTarget.validity.badInput) event.currentTarget.value = "";
  };
  return html`<${Field} name=${name} label=${label} id=${id} hint=${hint}>
    <input id=${id} ref=${input} type="number" min=${min} max=${max} step=${step} inputmode="decimal"
      placeholder=${defaults.value[field] ?? otherwise} onInput=${onInput} onBlur=${onBlur} />
  <//>`;
}

/**
 * @param {{name: any, label: string, options: {value: string, label: string}[]}} props
 */
export function SelectField({ name, label, options }) {
  const id = useId();
  const field = /** @type {"sampler"} */ (name);
  const value = stated.value[field] ?? defaults.value[field] ?? "";
  const onChange = (/** @type {any} */ event) => {
    const chosen = event.currentTarget.value;
    state(field, chosen === defaults.value[field] ? undefined : chosen);
  };
  return html`<${Field} name=${name} label=${label} id=${id}>
    <select id=${id} value=${value} onChange=${onChange}>
      ${options.map((each) => html`<option key=${each.value} value=${each.value} selected=${each.value === value}>${each.label}</option>`)}
    </select>
  <//>`;
}

/**
 * @param {{name: any, label: string, min: number, max: number, step: number}} props
 */
export function SliderField({ name, label, min, max, step }) {
  const id = useId();
  const field = /** @type {"strength"} */ (name);
  const value = stated.value[field] ?? defaults.value[field] ?? min;
  const onInput = (/** @type {any} */ event) => state(field, event.currentTarget.valueAsNumber);
  return html`<${Field} name=${name} label=${label} id=${id}>
    <div class="slider">
      <input id=${id} type="range" min=${min} max=${max} step=${step} value=${value} onInput=${onInput} />
      <output for=${id}>${value}</output>
    </div>
  <//>`;
}

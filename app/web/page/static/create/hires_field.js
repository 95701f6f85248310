/** A second pass at a larger size. */
import { useId } from "preact/hooks";
import { html } from "../html.js";
import { state, stated } from "../state/form.js";
import { upscalers } from "../state/server.js";

const SCALES = [1.5, 2, 3, 4];

/** @typedef {{scale?: number | null, upscaler?: string | null}} Hires */

export function HiresField() {
  const [scaleId, upscalerId] = [useId(), useId()];
  const hires = /** @type {Hires | null} */ (stated.value.hires ?? null);
  const put = (/** @type {Hires | undefined} */ value) => state("hires", /** @type {any} */ (value));
  const onScale = (/** @type {any} */ event) => {
    const scale = Number(event.currentTarget.value);
    put(scale ? { ...hires, scale } : undefined);
  };
  return html`<div class="pair">
    <div class=${`field${hires ? " changed" : ""}`}>
      <div class="field-top"><label for=${scaleId}>Second pass</label></div>
      <select id=${scaleId} value=${String(hires?.scale ?? "")} onChange=${onScale}>
        <option value="">none</option>
        ${SCALES.map((each) => html`<option key=${each} value=${String(each)} selected=${hires?.scale === each}>${each} times larger</option>`)}
      </select>
    </div>
    ${hires
      ? html`<div class="field">
          <div class="field-top"><label for=${upscalerId}>Upscaler</label></div>
          <select id=${upscalerId} value=${hires.upscaler ?? "lanczos"} onChange=${(/** @type {any} */ event) => put({ ...hires, upscaler: event.currentTarget.value })}>
            ${[...new Set(["lanczos", "latent", ...upscalers.value])].map((each) => html`<option key=${each} value=${each} selected=${(hires.upscaler ?? "lanczos") === each}>${each}</option>`)}
          </select>
        </div>`
      : null}
  </div>`;
}

/** Where the time of a request went, as a bar. */
import { html } from "../html.js";
import { seconds } from "../parts/units.js";

const STAGES = /** @type {const} */ ([["start_ms", "start"], ["queue_ms", "waiting"], ["load_ms", "loading"], ["encode_ms", "encoding"], ["denoise_ms", "denoising"], ["decode_ms", "decoding"], ["upscale_ms", "upscaling"], ["write_ms", "writing"]]);

/** @param {{timings: import("../types").Generated["timings"]}} props */
export function TimingBar({ timings }) {
  const stages = STAGES.map(([field, label]) => ({ label, field, ms: timings[field] })).filter((each) => each.ms >= 0.5);
  return html`<figure class="timing">
    <div class="bar" aria-hidden="true">
      ${stages.map((each) => html`<span key=${each.field} class=${`stage ${each.field}`} style=${{ flexGrow: each.ms }} title=${`${each.label} ${seconds(each.ms / 1000)}`}></span>`)}
    </div>
    <figcaption>
      <strong>${seconds(timings.total_ms / 1000)}</strong>
      ${stages.map((each) => html`<span key=${each.field} class="key"><span class=${`swatch ${each.field}`}></span>${each.label} ${seconds(each.ms / 1000)}</span>`)}
    </figcaption>
  </figure>`;
}

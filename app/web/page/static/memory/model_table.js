/** All models, where each one is, and the buttons that move it. */
import { html } from "../html.js";
import { bytes, seconds } from "../parts/units.js";
import { act } from "../state/pool.js";
import { models } from "../state/server.js";

const PLACES = { device: "device", host: "RAM", cold: "disk" };

export function ModelTable() {
  return html`<div class="scroll"><table>
    <caption class="unseen">Models</caption>
    <thead><tr><th scope="col">Model</th><th scope="col">Where</th><th scope="col" class="number">Size</th><th scope="col">Last used</th><th scope="col"><span class="unseen">Move</span></th></tr></thead>
    <tbody>${models.value.filter((each) => each.usable).map((each) => html`<${Row} key=${each.name} model=${each} />`)}</tbody>
  </table></div>`;
}

/** @param {{model: import("../types").Model}} props */
function Row({ model }) {
  const { name, loading, residency, pinned } = model;
  const nbytes = model.memory_nbytes || model.size_nbytes;
  return html`<tr>
    <th scope="row">${name}${pinned ? html` <span class="badge">pinned</span>` : null}${model.in_use ? html` <span class="badge busy">${model.in_use} in use</span>` : null}</th>
    <td><span class=${`dot ${residency}`}></span>${loading ? `${loading.phase} ${percent(loading)}` : PLACES[residency]}</td>
    <td class="number">${nbytes ? bytes(nbytes) : "?"}</td>
    <td>${model.idle_s === null ? "" : `${seconds(model.idle_s)} ago`}</td>
    <td><div class="moves">
      ${residency === "device"
        ? html`<button type="button" onClick=${() => void act(name, "unload")} aria-label=${`Unload ${name}`}>Unload</button>`
        : html`<button type="button" disabled=${loading !== null} onClick=${() => void act(name, "load")} aria-label=${`Load ${name}`}>Load</button>`}
      <button type="button" aria-pressed=${pinned} onClick=${() => void act(name, pinned ? "unpin" : "pin")} aria-label=${`${pinned ? "Unpin" : "Pin"} ${name}`}>${pinned ? "Unpin" : "Pin"}</button>
    </div></td>
  </tr>`;
}

/** @param {{done_nbytes: number, total_nbytes: number}} progress */
const percent = ({ done_nbytes: done, total_nbytes: total }) => (total ? `${Math.round((100 * done) / total)} %` : "");

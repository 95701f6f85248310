/** One tier of memory as a stacked bar of its components; shared ones are drawn once. */
import { html } from "../html.js";
import { bytes } from "../parts/units.js";
import { describe, grouped, kindOf, ownersOf } from "./components.js";

/**
 * @param {{title: string, limit: number | null, components: import("../types").Component[], reserved: number}} props
 */
export function TierBar({ title, limit, components, reserved }) {
  const used = components.reduce((sum, each) => sum + each.nbytes, 0) + reserved;
  const whole = Math.max(limit ?? used, used, 1);
  return html`<figure class="tier">
    <figcaption><strong>${title}</strong> <span>${bytes(used)}${limit === null ? "" : ` of ${bytes(limit)}`}</span></figcaption>
    <div class="tier-bar" role="img" aria-label=${`${title}: ${bytes(used)} used by ${components.length} components`}>
      ${grouped(components).map(({ owners, members }) => html`<div key=${owners} class="tier-group" style=${{ flexGrow: sum(members) / whole, flexBasis: 0 }}>
        ${members.map((each) => html`<span key=${each.id} class=${`component ${kindOf(each)}${each.leases ? " leased" : ""}`} style=${{ flexGrow: each.nbytes, flexBasis: 0 }} title=${describe(each, bytes)}></span>`)}
      </div>`)}
      ${reserved ? html`<span class="component reserved" style=${{ flexGrow: reserved / whole, flexBasis: 0 }} title=${`${bytes(reserved)} reserved for running requests`}></span>` : null}
      <span class="free" style=${{ flexGrow: (whole - used) / whole, flexBasis: 0 }}></span>
    </div>
  </figure>`;
}

/** @param {import("../types").Component[]} components */
const sum = (components) => components.reduce((total, each) => total + each.nbytes, 0);

/** The same as a table: what is where, who shares it, what leaves next. @param {{components: import("../types").Component[]}} props */
export function ComponentTable({ components }) {
  const inOrder = [...components].sort((one, other) => (one.eviction_place ?? Infinity) - (other.eviction_place ?? Infinity));
  return html`<div class="scroll"><table class="components">
    <caption class="unseen">Components in memory, in the order in which they would be evicted</caption>
    <thead><tr><th scope="col">Leaves</th><th scope="col">Component</th><th scope="col">Of</th><th scope="col" class="number">Size</th><th scope="col">Where</th></tr></thead>
    <tbody>
      ${inOrder.map((each) => html`<tr key=${each.id}>
        <td>${each.leases ? html`<span class="badge busy">in use</span>` : each.eviction_place ? html`<span class="badge">${each.eviction_place === 1 ? "next" : each.eviction_place}</span>` : html`<span class="badge">pinned</span>`}</td>
        <td><span class=${`swatch ${kindOf(each)}`}></span>${each.name}</td>
        <td>${ownersOf(each).join(", ")}</td>
        <td class="number">${bytes(each.nbytes)}</td>
        <td>${each.residency === "device" ? "device" : "RAM"}</td>
      </tr>`)}
    </tbody>
  </table></div>`;
}

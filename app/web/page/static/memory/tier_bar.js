/** One tier of memory: how full it is, and below it what fills it, in proportion; shared components are drawn once. */
import { html } from "../html.js";
import { bytes } from "../parts/units.js";
import { describe, grouped, kindOf, ownersOf } from "./components.js";

/**
 * @param {{title: string, limit: number | null, components: import("../types").Component[], reserved: number}} props
 */
export function TierBar({ title, limit, components, reserved }) {
  const used = components.reduce((sum, each) => sum + each.nbytes, 0) + reserved;
  const share = limit ? used / limit : 1;
  return html`<figure class="tier">
    <figcaption><strong>${title}</strong> <span>${bytes(used)}${limit === null ? "" : ` of ${bytes(limit)}, ${percent(share)}`}</span></figcaption>
    <div class="tier-share" aria-hidden="true"><span style=${{ width: `${Math.min(100, share * 100)}%` }}></span></div>
    <div class="tier-bar" role="img" aria-label=${`${title}: ${bytes(used)} used by ${components.length} components`}>
      ${grouped(components).map(({ owners, members }) => html`<div key=${owners} class="tier-group" style=${{ flexGrow: sum(members), flexBasis: 0 }}>
        <div class="tier-members">${members.map((each) => html`<span key=${each.id} class=${`component ${kindOf(each)}${each.leases ? " leased" : ""}`} style=${{ flexGrow: each.nbytes, flexBasis: 0 }} title=${describe(each, bytes)}></span>`)}</div>
        <span class="tier-owners" title=${owners}>${owners}</span>
      </div>`)}
      ${reserved ? html`<span class="component reserved" style=${{ flexGrow: reserved, flexBasis: 0 }} title=${`${bytes(reserved)} reserved for running requests`}></span>` : null}
    </div>
  </figure>`;
}

/** @param {number} share */
const percent = (share) => (share < 0.01 ? "under 1 %" : `${Math.round(share * 100)} %`);

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

/** Components of the pool as values for pictures: who they belong to, how they look. Pure functions. */

/** @typedef {import("../types").Component} Component */

const KINDS = ["unet", "vae", "text_encoder", "text_encoder_2", "adapter"];

/** Class by which a component is coloured. @param {Component} component */
export function kindOf(component) {
  if (component.adapters.length) return "adapter";
  return KINDS.includes(component.name) ? component.name : "other";
}

/** Names of its owners. @param {Component} component */
export const ownersOf = (component) => [...component.models, ...component.adapters, ...component.vaes];

/** Those of the same owners side by side, in the order of the pool. @param {Component[]} components */
export function grouped(components) {
  /** @type {Map<string, Component[]>} */
  const groups = new Map();
  for (const component of components) {
    const owners = ownersOf(component).join(" + ");
    groups.set(owners, [...(groups.get(owners) ?? []), component]);
  }
  return [...groups].map(([owners, members]) => ({ owners, members }));
}

/** One sentence about a component. @param {Component} component @param {(nbytes: number) => string} bytes */
export function describe(component, bytes) {
  const owners = ownersOf(component);
  const shared = owners.length > 1 ? `, shared by ${owners.length}` : "";
  const held = component.leases ? ", in use" : component.eviction_place ? `, evicted as number ${component.eviction_place}` : ", pinned";
  return `${owners.join(", ")}: ${component.name}, ${bytes(component.nbytes)} in ${component.dtype}${shared}${held}`;
}

/** What belongs to one client, such as its jobs and its prompt: all of it is forgotten when that client signs out, or another one signs in. */
import { batch, signal } from "@preact/signals";

/** @type {(() => void)[]} */
const forgetting = [];

/**
 * A signal that is forgotten.
 * @template T
 * @param {T} empty its value afterwards
 * @param {T} [first]
 */
export function personal(empty, first = empty) {
  const kept = signal(first);
  whenForgotten(() => (kept.value = empty));
  return kept;
}

/** Do something else when all is forgotten. @param {() => void} forget */
export const whenForgotten = (forget) => void forgetting.push(forget);

export const forgetAll = () => batch(() => forgetting.forEach((forget) => forget()));

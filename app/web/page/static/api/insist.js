/** Repeats requests whose failure may pass: lost connections, restarts of the server, full queues, a key that must be entered again. */
import { passes } from "./http.js";

const SOONEST_MS = 500;
const LATEST_MS = 5000;

/**
 * Return what a function returns, after as many calls as it takes; undefined if `signal` ends them.
 * @template T
 * @param {(connected: () => void) => Promise<T>} work calls `connected` once the server has answered, if more is to come
 * @param {AbortSignal} signal
 * @param {(lost: boolean) => void} [onConnection] is told when the connection is lost and found again
 * @returns {Promise<T | undefined>}
 */
export async function insist(work, signal, onConnection = () => {}) {
  let waitMs = SOONEST_MS;
  const connected = () => {
    waitMs = SOONEST_MS;
    onConnection(false);
  };
  while (!signal.aborted) {
    try {
      const found = await work(connected);
      onConnection(false);
      return found;
    } catch (error) {
      if (signal.aborted) return;
      if (!passes(error)) throw error;
    }
    onConnection(true);
    await new Promise((resolve) => {
      setTimeout(resolve, waitMs);
      signal.addEventListener("abort", resolve, { once: true });
    });
    waitMs = Math.min(2 * waitMs, LATEST_MS);
  }
}

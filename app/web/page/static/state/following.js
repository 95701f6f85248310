/**
 * Follows the unfinished jobs. Over HTTP/1.1 browsers open six connections to a server, for all tabs together: so a tab reads the
 * events of one job, the shown one if it is unfinished, and asks for all others by one list. A hidden tab reads no events.
 */
import { computed, effect, signal, untracked } from "@preact/signals";
import { ApiError, Unreachable, poll } from "../api/http.js";
import { jobs, shown } from "./jobs.js";
import { locked, whileSeen } from "./server.js";

const EVERY_MS = 2000;
const CLOCK_MS = 1000;

const seen = signal(document.visibilityState === "visible");
document.addEventListener("visibilitychange", () => (seen.value = document.visibilityState === "visible"));

const unfinished = computed(() => jobs.value.filter((job) => !job.over.value));

/** The job whose events are read: the shown one, else the oldest; null while the page is hidden or wants a key. */
const followed = computed(() => {
  if (!seen.value || locked.value) return null;
  return unfinished.value.find((job) => job === shown.value) ?? unfinished.value.at(-1) ?? null;
});

/** Follow all unfinished jobs. @returns {() => void} which ends it */
export function keepFollowing() {
  const ends = [
    effect(() => {
      const job = followed.value;
      const ending = new AbortController();
      untracked(() => void job?.watch(ending.signal));
      return () => ending.abort();
    }),
    whileSeen(lookAtOthers, EVERY_MS),
  ];
  return () => ends.forEach((end) => end());
}

async function lookAtOthers() {
  const others = unfinished.value.filter((job) => job !== followed.value);
  if (!others.length || locked.value) return;
  const oldest = Math.min(...others.map((job) => Date.parse(job.created))) - CLOCK_MS;
  const query = new URLSearchParams({ created_from: new Date(oldest).toISOString(), limit: "100" });
  try {
    const list = /** @type {import("../types").Job[]} */ (await poll(`jobs?${query}`));
    const listed = new Map(list.map((job) => [job.id, job]));
    // One after the other: their images are large, and each read holds a connection.
    for (const job of others) if (!job.over.value && job !== followed.value) await job.look(listed.get(job.id));
  } catch (error) {
    if (!(error instanceof ApiError || error instanceof Unreachable)) throw error;
  }
}

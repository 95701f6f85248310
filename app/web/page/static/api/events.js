/** Follows a job by its server-sent events, through lost connections and restarts of the server. */
import { createParser } from "eventsource-parser";
import { Unreachable, received, send } from "./http.js";
import { insist } from "./insist.js";

const LAST = ["done", "failed", "cancelled"];

/** @typedef {{lastId: string}} Place  where the reading of a job's events goes on */

/**
 * Call `onEvent` for each event of a job after a place, which moves on, until its last one; until `signal` ends it.
 *
 * `EventSource` of browsers cannot send a key, so the stream is read by `fetch`.
 * @param {string} jobUrl
 * @param {Place} place
 * @param {(kind: string, data: any) => void} onEvent
 * @param {AbortSignal} signal
 * @param {(lost: boolean) => void} onConnection is told when the connection is lost and found again
 */
export async function follow(jobUrl, place, onEvent, signal, onConnection) {
  const take = (/** @type {import("eventsource-parser").EventSourceMessage} */ event) => {
    if (signal.aborted) return true;
    place.lastId = event.id ?? place.lastId;
    onEvent(event.event ?? "message", event.data ? JSON.parse(event.data) : {});
    return LAST.includes(event.event ?? "");
  };
  await insist(async (connected) => {
    const answer = await send(`${jobUrl}/events`, { headers: eventHeaders(place.lastId), signal });
    if (answer.status === 204 || answer.body === null) return;
    connected();
    if (!(await read(answer.body, take))) throw new Unreachable();
  }, signal, onConnection);
}

/** @param {string} lastId */
function eventHeaders(lastId) {
  const headers = { accept: "text/event-stream" };
  return lastId ? { ...headers, "last-event-id": lastId } : headers;
}

/**
 * Read a stream to its end, or to the event for which `onEvent` says that it is the last; tell whether it came.
 * @param {ReadableStream<Uint8Array>} body
 * @param {(event: import("eventsource-parser").EventSourceMessage) => boolean} onEvent
 */
async function read(body, onEvent) {
  let ended = false;
  const parser = createParser({ onEvent: (event) => (ended = onEvent(event) || ended) });
  const reader = /** @type {ReadableStream<any>} */ (body).pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await received(reader.read());
    if (done) return ended;
    parser.feed(value);
    if (ended) {
      await reader.cancel();
      return true;
    }
  }
}

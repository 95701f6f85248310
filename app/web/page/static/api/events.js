/** Follows a job by its server-sent events, through lost connections and restarts of the server. */
import { createParser } from "eventsource-parser";
import { ApiError, Unreachable, send } from "./http.js";

const SOONEST_MS = 500;
const LATEST_MS = 5000;
const LAST = ["done", "failed", "cancelled"];

/**
 * Call `onEvent` for each event of a job, until its last one.
 *
 * `EventSource` of browsers cannot send a key, so the stream is read by `fetch`.
 * @param {string} jobUrl
 * @param {(kind: string, data: any) => void} onEvent
 * @param {AbortSignal} signal
 * @param {(lost: boolean) => void} [onConnection] is told when the connection is lost and found again
 */
export async function follow(jobUrl, onEvent, signal, onConnection = () => {}) {
  let lastId = "";
  let waitMs = SOONEST_MS;
  while (!signal.aborted) {
    try {
      const answer = await send(`${jobUrl}/events`, { headers: eventHeaders(lastId), signal });
      if (answer.status === 204 || answer.body === null) return;
      onConnection(false);
      waitMs = SOONEST_MS;
      const ended = await read(answer.body, (event) => {
        lastId = event.id ?? lastId;
        onEvent(event.event ?? "message", event.data ? JSON.parse(event.data) : {});
        return LAST.includes(event.event ?? "");
      });
      if (ended) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500) throw error;
      if (!(error instanceof ApiError || error instanceof Unreachable || error instanceof TypeError)) throw error;
    }
    onConnection(true);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    waitMs = Math.min(2 * waitMs, LATEST_MS);
  }
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
    const { done, value } = await reader.read();
    if (done) return ended;
    parser.feed(value);
    if (ended) {
      await reader.cancel();
      return true;
    }
  }
}

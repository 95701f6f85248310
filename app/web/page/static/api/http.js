/** Requests to the server that the page comes from: JSON, images, and errors that people can read. */
import { signal } from "@preact/signals";

const KEY = "litestar-diffusion.key";

/** The API key of this tab; "" without one. It is kept in the session storage: it ends with the tab. */
export const key = signal(sessionStorage.getItem(KEY) ?? "");

/** Whether the server refused the last request for want of a valid key. */
export const keyRefused = signal(false);

/** Whether the server needs keys. */
export const needsKey = document.querySelector('meta[name="litestar-diffusion-keys"]')?.getAttribute("content") === "yes";

/** @param {string} value */
export function setKey(value) {
  if (value) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
  key.value = value;
  keyRefused.value = false;
}

/** An answer that is no success, with the server's problem document. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {Partial<import("../types").Problem>} problem
   */
  constructor(status, problem) {
    super(problem.detail ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = problem.code ?? `http_${status}`;
    this.title = problem.title ?? "The request failed";
    this.fields = problem.errors ?? [];
  }
}

/** The server did not answer at all, or a proxy answered in its place, or the answer was cut off. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

const POLL_MS = 10_000;
/** Statuses by which proxies say that the server behind them is away. */
const AWAY = [502, 503, 504];

/** Whether the same request may succeed later. @param {unknown} error */
export const passes = (error) =>
  error instanceof Unreachable || (error instanceof ApiError && (error.status === 401 || error.status === 429 || error.status >= 500));

/** Whether an error says that the server is away. @param {unknown} error */
export const isAway = (error) => error instanceof Unreachable || (error instanceof ApiError && AWAY.includes(error.status));

/**
 * Address of a path of the API, below the path that the page was opened under.
 * @param {string} path
 */
export function address(path) {
  return path.startsWith("/") ? new URL(path, location.origin).href : new URL(path, document.baseURI).href;
}

/**
 * Send a request, and return the answer if it is a success.
 * @param {string} path
 * @param {RequestInit} [options]
 */
export async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  if (!headers.has("accept")) headers.set("accept", "application/json");
  const own = key.value;
  if (own) headers.set("authorization", `Bearer ${own}`);
  const answer = await received(fetch(address(path), { ...options, headers }));
  if (key.value !== own) throw new ApiError(401, { title: "Signed out", detail: "The key has changed since this was sent." });
  if (answer.status === 401 && own) keyRefused.value = true;
  if (!answer.ok) throw await failureOf(answer);
  return answer;
}

/**
 * What a promise of `fetch` brings; its errors, beside that of an ended request, mean that the server is unreachable.
 * @template T
 * @param {Promise<T>} promise
 */
export async function received(promise) {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable();
  }
}

/** @param {Response} answer */
async function failureOf(answer) {
  const problem = await answer.json().catch(() => ({}));
  const ofProxy = AWAY.includes(answer.status) && !problem?.code;
  return ofProxy ? new Unreachable() : new ApiError(answer.status, problem ?? {});
}

/**
 * GET a path, and read the JSON.
 * @template T
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function getJson(path, signal) {
  return received((await send(path, { signal })).json());
}

/**
 * GET a path that is read again and again: a server that does not answer in ten seconds is unreachable.
 * @template T
 * @param {string} path
 * @returns {Promise<T>}
 */
export const poll = (path) => getJson(path, AbortSignal.timeout(POLL_MS));

/**
 * POST JSON, and read the JSON of the answer.
 * @template T
 * @param {string} path
 * @param {unknown} [body]
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function postJson(path, body, signal) {
  const headers = { "content-type": "application/json" };
  const sent = body === undefined ? {} : { headers, body: JSON.stringify(body) };
  return received((await send(path, { method: "POST", signal, ...sent })).json());
}

/**
 * Fetch an image with the key, which an <img> could not send, as an address for one.
 * @param {string} path
 * @param {AbortSignal} [signal]
 */
export async function imageAddress(path, signal) {
  const answer = await send(path, { headers: { accept: "image/*" }, signal });
  return URL.createObjectURL(await received(answer.blob()));
}

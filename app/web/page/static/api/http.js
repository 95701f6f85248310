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

/** The server did not answer at all. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer.");
  }
}

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
  if (key.value) headers.set("authorization", `Bearer ${key.value}`);
  let answer;
  try {
    answer = await fetch(address(path), { ...options, headers });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Unreachable();
  }
  if (answer.status === 401) keyRefused.value = true;
  if (!answer.ok) throw new ApiError(answer.status, await problemOf(answer));
  return answer;
}

/** @param {Response} answer */
async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return {};
  }
}

/**
 * GET a path, and read the JSON.
 * @template T
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export async function getJson(path, signal) {
  return (await send(path, { signal })).json();
}

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
  return (await send(path, { method: "POST", signal, ...sent })).json();
}

/**
 * Fetch an image with the key, which an <img> could not send, as an address for one.
 * @param {string} path
 * @param {AbortSignal} [signal]
 */
export async function imageAddress(path, signal) {
  const answer = await send(path, { headers: { accept: "image/*" }, signal });
  return URL.createObjectURL(await answer.blob());
}

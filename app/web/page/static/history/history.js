/** The wall of jobs: found by their prompt, page by page, compared two at a time. */
import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { send } from "../api/http.js";
import { html } from "../html.js";
import { RemoteImage } from "../parts/remote_image.js";
import { Compare } from "./compare.js";
import { Detail } from "./detail.js";
import { endings } from "../state/jobs.js";
import { usableModels } from "../state/server.js";

const PAGE = 30;
const PAUSE_MS = 250;

/** @typedef {import("../types").Job} Job */

const search = signal("");
const ofModel = signal("");
const found = signal(/** @type {Job[]} */ ([]));
/** Address of the next page; null after the last one. */
const next = signal(/** @type {string | null} */ (null));
const reading = signal(false);
const failure = signal("");
const opened = signal(/** @type {Job | null} */ (null));
const compared = signal(/** @type {string[]} */ ([]));
const comparing = signal(false);

let asked = new AbortController();

/** Read the first page again. */
async function restart() {
  asked.abort();
  asked = new AbortController();
  const query = new URLSearchParams({ state: "done", limit: String(PAGE) });
  if (search.value) query.set("prompt", search.value);
  if (ofModel.value) query.set("model", ofModel.value);
  await readPage(`jobs?${query}`, [], asked.signal);
}

async function more() {
  if (next.value !== null && !reading.value) await readPage(next.value, found.value, asked.signal);
}

/**
 * @param {string} path
 * @param {Job[]} before
 * @param {AbortSignal} ended
 */
async function readPage(path, before, ended) {
  reading.value = true;
  try {
    const answer = await send(path, { signal: ended });
    found.value = [...before, ...(await answer.json())];
    next.value = /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get("link") ?? "")?.[1] ?? null;
    failure.value = "";
  } catch (error) {
    if (!ended.aborted) failure.value = /** @type {Error} */ (error).message;
  } finally {
    if (!ended.aborted) reading.value = false;
  }
}

/** @param {Job} job */
async function remove(job) {
  await send(job.url, { method: "DELETE" });
  found.value = found.value.filter((each) => each !== job);
  opened.value = null;
}

export function History() {
  useSignalEffect(() => {
    void [search.value, ofModel.value, endings.value];
    const timer = setTimeout(() => void restart(), PAUSE_MS);
    return () => clearTimeout(timer);
  });
  return html`<section class="history" aria-label="History">
    <${Bar} />
    ${failure.value ? html`<p class="note error" role="alert">${failure.value}</p>` : null}
    <ul class="wall">
      ${found.value.flatMap((job) => job.image_urls.map((url) => html`<${Tile} key=${url} job=${job} url=${url} />`))}
    </ul>
    <${End} />
    ${opened.value ? html`<${Detail} job=${opened.value} onClose=${() => (opened.value = null)} onRemove=${remove} />` : null}
    ${comparing.value ? html`<${Compare} urls=${compared.value} onClose=${() => (comparing.value = false)} />` : null}
  </section>`;
}

function Bar() {
  return html`<div class="history-bar">
    <label class="unseen" for="history-search">Search prompts</label>
    <input id="history-search" type="search" placeholder="Search prompts" value=${search.value} onInput=${(/** @type {any} */ event) => (search.value = event.currentTarget.value)} />
    <label class="unseen" for="history-model">Model</label>
    <select id="history-model" value=${ofModel.value} onChange=${(/** @type {any} */ event) => (ofModel.value = event.currentTarget.value)}>
      <option value="">All models</option>
      ${usableModels.value.map((each) => html`<option key=${each.name} value=${each.name}>${each.name}</option>`)}
    </select>
    <button type="button" disabled=${compared.value.length !== 2} onClick=${() => (comparing.value = true)}>Compare ${compared.value.length} of 2</button>
  </div>`;
}

/** @param {{job: Job, url: string}} props */
function Tile({ job, url }) {
  const chosen = compared.value.includes(url);
  const toggle = () => (compared.value = chosen ? compared.value.filter((each) => each !== url) : [...compared.value, url].slice(-2));
  return html`<li class="tile">
    <button type="button" class="tile-open" onClick=${() => (opened.value = job)} aria-label=${`Open: ${job.prompt || "no prompt"}`}>
      <${RemoteImage} path=${`${url}?width=320`} alt="" />
      <span class="tile-prompt">${job.prompt || "no prompt"}</span>
    </button>
    <button type="button" class="tile-compare" aria-pressed=${chosen} onClick=${toggle} aria-label="Compare this image">⇄</button>
  </li>`;
}

/** Reads the next page when it comes into view. */
function End() {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    if (place.current === null) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && void more(), { rootMargin: "600px" });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [next.value]);
  const text = reading.value ? "Reading…" : found.value.length ? (next.value ? "" : `${found.value.length} jobs. That is all.`) : "No images yet.";
  return html`<div ref=${place} class="wall-end hint" role="status">${text}
    ${next.value && !reading.value ? html`<button type="button" onClick=${() => void more()}>More</button>` : null}</div>`;
}


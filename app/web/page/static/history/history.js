/** The wall of jobs: found by their prompt, page by page, compared two at a time. */
import { computed, signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { received, send } from "../api/http.js";
import { html } from "../html.js";
import { RemoteImage } from "../parts/remote_image.js";
import { Compare } from "./compare.js";
import { Detail } from "./detail.js";
import { endings } from "../state/jobs.js";
import { personal, whenForgotten } from "../state/personal.js";
import { usableModels, whileSeen } from "../state/server.js";

const PAGE = 30;
const PAUSE_MS = 250;
const EVERY_MS = 3000;

/** @typedef {import("../types").Job} Job */

const search = personal("");
const ofModel = personal("");
const found = personal(/** @type {Job[]} */ ([]));
/** Address of the next page; null after the last one. */
const next = personal(/** @type {string | null} */ (null));
const reading = signal(false);
const failure = personal(/** @type {Error | null} */ (null));
const opened = personal(/** @type {Job | null} */ (null));
const compared = personal(/** @type {string[]} */ ([]));
const comparing = personal(false);

let asked = new AbortController();

/** Address of the first page of what is searched for. */
const firstPage = computed(() => {
  const query = new URLSearchParams({ state: "done", limit: String(PAGE) });
  if (search.value) query.set("prompt", search.value);
  if (ofModel.value) query.set("model", ofModel.value);
  return `jobs?${query}`;
});
/** The first page of the wall that is shown; "" before any. */
let begun = "";

whenForgotten(() => {
  asked.abort();
  [begun, reading.value] = ["", false];
});

/** Read what is searched for; if it is shown already, only what has come since. */
async function update() {
  if (firstPage.value === begun && !reading.value) return addEnded();
  asked.abort();
  asked = new AbortController();
  const path = firstPage.value;
  begun = "";
  await readPage(path, (page, following) => ([begun, found.value, next.value] = [path, page, following]));
}

/** Put the jobs that have ended since, wherever they were sent, before those that are shown, which keep their place. */
async function addEnded() {
  await take(begun, asked.signal, (page, following) => {
    const known = new Set(found.value.map((job) => job.id));
    const ended = page.filter((job) => !known.has(job.id));
    if (ended.length === page.length) [found.value, next.value] = [page, following];
    else found.value = [...ended, ...found.value];
  });
}

/** Read what has come since, or what a lost connection or a busy server kept from being read. */
async function lookAgain() {
  if (!reading.value) await update();
}

async function more() {
  if (next.value === null || reading.value) return;
  await readPage(next.value, (page, following) => ([found.value, next.value] = [[...found.value, ...page], following]));
}

/** @typedef {(page: Job[], following: string | null) => void} OnPage */

/** Read a page, and tell that it is read. @param {string} path @param {OnPage} onPage */
async function readPage(path, onPage) {
  const ended = asked.signal;
  reading.value = true;
  await take(path, ended, onPage);
  if (!ended.aborted) reading.value = false;
}

/** @param {string} path @param {AbortSignal} ended @param {OnPage} onPage */
async function take(path, ended, onPage) {
  try {
    const answer = await send(path, { signal: ended });
    const page = await received(answer.json());
    if (ended.aborted) return;
    onPage(page, /<([^>]+)>;\s*rel="next"/.exec(answer.headers.get("link") ?? "")?.[1] ?? null);
    failure.value = null;
  } catch (error) {
    if (!ended.aborted) failure.value = /** @type {Error} */ (error);
  }
}

/** @param {Job} job */
async function remove(job) {
  await send(job.url, { method: "DELETE" });
  found.value = found.value.filter((each) => each.id !== job.id);
  opened.value = null;
}

function closeDialogs() {
  [opened.value, comparing.value] = [null, false];
}

export function History() {
  useSignalEffect(() => {
    void [firstPage.value, endings.value];
    const timer = setTimeout(() => void update(), PAUSE_MS);
    return () => clearTimeout(timer);
  });
  useEffect(() => whileSeen(lookAgain, EVERY_MS), []);
  useEffect(() => closeDialogs, []); // or they would open again with this view
  return html`<section class="history" aria-label="History">
    <${Bar} />
    ${failure.value ? html`<p class="note error" role="alert">${failure.value.message}</p>` : null}
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

/**
 * Reads the next page when it comes into view. An observer tells of changes alone, and once at its start: so each page that was
 * read gets a new one, or a wall that still ends in view would stay as it is. After a failure, it reads on once something was read again.
 */
function End() {
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    if (place.current === null || next.value === null || reading.value || failure.value) return;
    const observer = new IntersectionObserver(([entry]) => entry?.isIntersecting && void more(), { rootMargin: "600px" });
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [next.value, reading.value, failure.value]);
  const text = reading.value ? "Reading…" : found.value.length ? (next.value ? "" : `${found.value.length} jobs. That is all.`) : "No images yet.";
  return html`<div ref=${place} class="wall-end hint" role="status">${text}
    ${next.value && !reading.value ? html`<button type="button" onClick=${() => void more()}>More</button>` : null}</div>`;
}

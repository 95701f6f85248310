/** The page: its views by the part of the address after #, and the bar above them. */
import { signal } from "@preact/signals";
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { Composer } from "./create/composer.js";
import { History } from "./history/history.js";
import { html } from "./html.js";
import { Memory } from "./memory/memory.js";
import { Drops } from "./see/drops.js";
import { Stage } from "./see/stage.js";
import { SignIn, SignOut } from "./sign_in.js";
import { keepFollowing } from "./state/following.js";
import { findUnfinished } from "./state/jobs.js";
import { keepPlanning } from "./state/plan.js";
import { watchPace } from "./state/pool.js";
import { connection, keepFresh, locked, service } from "./state/server.js";

const VIEWS = { create: "Create", history: "History", memory: "Memory" };

const view = signal(viewInAddress());
addEventListener("hashchange", () => (view.value = viewInAddress()));

/** @returns {keyof typeof VIEWS} */
function viewInAddress() {
  const name = location.hash.slice(1);
  return name in VIEWS ? /** @type {keyof typeof VIEWS} */ (name) : "create";
}

function Page() {
  useEffect(keepFresh, []);
  useEffect(keepPlanning, []);
  useEffect(keepFollowing, []);
  useEffect(watchPace, []);
  const ready = service.value !== null;
  useEffect(() => {
    if (ready) void findUnfinished();
  }, [ready]);
  return html`<${Top} />
    <${Connection} />
    <main>${locked.value ? html`<${SignIn} />` : html`<${View} />`}</main>
    <${Drops} />`;
}

function View() {
  if (view.value === "history") return html`<${History} />`;
  if (view.value === "memory") return html`<${Memory} />`;
  return html`<div class="create"><${Composer} /><${Stage} /></div>`;
}

function Top() {
  const facts = service.value;
  return html`<header class="top">
    <h1 class="brand"><svg viewBox="0 0 32 32" width="20" height="20" aria-hidden="true"><rect width="32" height="32" rx="7" fill="#2b50d8"/><circle cx="16" cy="16" r="8" fill="#f04a3a"/></svg>litestar-diffusion</h1>
    <nav aria-label="Views">
      ${Object.entries(VIEWS).map(([name, label]) => html`<a key=${name} href=${`${location.pathname}#${name}`} aria-current=${view.value === name ? "page" : undefined}>${label}</a>`)}
    </nav>
    <p class="server">
      ${facts ? html`<span class=${`dot ${facts.ready && connection.value !== "lost" ? "device" : "cold"}`}></span>${facts.device}${facts.ready ? "" : ", starting"}${facts.waiting ? ` · ${facts.waiting} in line` : ""}` : ""}
      ${facts?.documentation ? html` <a href=${facts.documentation}>API</a>` : null}
      <${SignOut} />
    </p>
  </header>`;
}

function Connection() {
  return html`<div class="connection" role="status" aria-live="polite">
    ${connection.value === "lost" ? html`<p class="note error">The server does not answer. Jobs that it has accepted are kept; this page reconnects by itself.</p>` : null}
    ${connection.value === "back" ? html`<p class="note good">The server is back.</p>` : null}
  </div>`;
}

const place = /** @type {HTMLElement} */ (document.getElementById("page"));
place.replaceChildren();
render(html`<${Page} />`, place);

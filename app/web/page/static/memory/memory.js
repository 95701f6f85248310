/** The memory manager, live: what is where, what leaves next and why, who waits. */
import { useEffect } from "preact/hooks";
import { html } from "../html.js";
import { failure, line, moveFailure, pool, watchPool, withoutBooks } from "../state/pool.js";
import { service } from "../state/server.js";
import { Decisions } from "./decisions.js";
import { ModelTable } from "./model_table.js";
import { Throughput } from "./throughput.js";
import { ComponentTable, TierBar } from "./tier_bar.js";

export function Memory() {
  useEffect(watchPool, []);
  const books = pool.value;
  return html`<section class="memory" aria-label="Memory">
    ${failure.value ? html`<p class="note error" role="alert">${failure.value}</p>` : null}
    ${moveFailure.value ? html`<p class="note error" role="alert">${moveFailure.value}</p>` : null}
    ${withoutBooks.value ? html`<${Elsewhere} />` : books === null ? html`<p class="hint">Reading…</p>` : html`<${Books} books=${books} />`}
  </section>`;
}

function Elsewhere() {
  return html`<p class="note">This server does not show a memory: in a cluster, each worker keeps and logs its own; in another application, the host may leave the route out.</p>
    <h2>Line</h2><${Line} />
    <h2>Pace</h2><${Throughput} />`;
}

/** @param {{books: import("../types").Pool}} props */
function Books({ books }) {
  const { components, device, host, reserved_nbytes: reserved } = books;
  const onDevice = components.filter((each) => each.residency === "device");
  const isHost = service.value?.device.startsWith("cpu") ?? false;
  const several = !isHost && books.devices.length > 1;
  return html`<div class="tiers">
      ${several ? books.devices.map((each) => html`<${TierBar} key=${each.name} title=${titleOf(each)} limit=${each.memory.limit_nbytes} components=${onDevice.filter((component) => component.devices.includes(each.name))} reserved=${each.reserved_nbytes} />`) : null}
      ${several ? null : html`<${TierBar} title=${isHost ? "Memory: the device is the CPU" : "Device memory"} limit=${device.limit_nbytes} components=${onDevice} reserved=${reserved} />`}
      ${isHost ? null : html`<${TierBar} title="Host memory" limit=${host.limit_nbytes} components=${components} reserved=${0} />`}
      <p class="legend">${["unet", "vae", "text_encoder", "text_encoder_2", "adapter", "reserved"].map((each) => html`<span key=${each} class="key"><span class=${`swatch ${each}`}></span>${each.replaceAll("_", " ")}</span>`)}</p>
    </div>
    <div class="memory-columns">
      <div>
        <h2>Models</h2><${ModelTable} />
        <h2>Components <span class="hint">in the order in which they would be evicted</span></h2><${ComponentTable} components=${components} />
      </div>
      <div>
        <h2>Line <span class="hint">${books.leases} running, ${books.waiting} waiting</span></h2><${Line} requests=${books.leases + books.waiting} />
        <h2>Pace</h2><${Throughput} />
        <h2>Decisions</h2><${Decisions} decisions=${books.decisions} />
      </div>
    </div>`;
}

/** @param {import("../types").Device} device */
function titleOf({ name, out_because: outBecause, requests }) {
  return outBecause === null ? `${name}, ${requests} requests` : `${name}, taken out: ${outBecause}`;
}

/** The jobs of this client. @param {{requests?: number}} props requests of all clients, jobs or not, that run or wait */
function Line({ requests = 0 }) {
  if (!line.value.length) return html`<p class="hint">${requests ? "None of them is a job of yours." : "No jobs wait."}</p>`;
  return html`<ol class="line">${line.value.map((job) => html`<li key=${job.id}>
    <span class=${`badge ${job.state === "running" ? "busy" : ""}`}>${job.state}</span> <strong>${job.model}</strong> <span class="line-prompt">${job.prompt}</span>
    <span class="number">${job.state === "running" && job.steps_total ? `${job.steps_done}/${job.steps_total}` : ""}</span></li>`)}</ol>`;
}

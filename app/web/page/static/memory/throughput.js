/** Images a minute over the last minutes, as a line. */
import { html } from "../html.js";
import { samples } from "../state/pool.js";

const [WIDTH, HEIGHT] = [320, 56];
const OVER_MS = 15_000;

/** Images a minute at each sample, over the fifteen seconds before it. @param {import("../state/pool.js").Sample[]} all */
export function rates(all) {
  return all.map((sample, index) => {
    const since = all.find((each) => sample.at - each.at <= OVER_MS) ?? sample;
    const minutes = (sample.at - since.at) / 60_000;
    return index && minutes > 0 ? Math.max(0, sample.images - since.images) / minutes : 0;
  });
}

export function Throughput() {
  const found = rates(samples.value);
  const most = Math.max(1, ...found);
  const step = WIDTH / Math.max(1, found.length - 1);
  const points = found.map((rate, index) => `${(index * step).toFixed(1)},${(HEIGHT - 2 - (rate / most) * (HEIGHT - 6)).toFixed(1)}`);
  const now = found.at(-1) ?? 0;
  return html`<figure class="throughput">
    <figcaption><strong>${now.toFixed(now < 10 ? 1 : 0)}</strong> images a minute</figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${`Images a minute over the last minutes, at most ${most.toFixed(0)}`} preserveAspectRatio="none">
      <polyline points=${points.join(" ")} fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke" />
    </svg>
  </figure>`;
}

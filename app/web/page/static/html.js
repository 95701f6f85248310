/** Templates of the page: `html` makes Preact elements without a build step. */
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);

/** An <img> whose address needs the key, fetched when it comes into view. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, imageAddress } from "../api/http.js";
import { insist } from "../api/insist.js";
import { html } from "../html.js";

const GONE = [404, 410];

/** @param {{path: string, alt: string, width?: number, class?: string}} props */
export function RemoteImage({ path, alt, class: className = "" }) {
  const [source, setSource] = useState("");
  const [failure, setFailure] = useState("");
  const place = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    const ending = new AbortController();
    let found = "";
    const observer = new IntersectionObserver(async ([entry]) => {
      if (!entry?.isIntersecting) return;
      observer.disconnect();
      try {
        found = (await insist(() => imageAddress(path, ending.signal), ending.signal)) ?? "";
        setSource(found);
      } catch (error) {
        setFailure(error instanceof ApiError && GONE.includes(error.status) ? "no longer kept" : /** @type {Error} */ (error).message);
      }
    }, { rootMargin: "400px" });
    if (place.current !== null) observer.observe(place.current);
    return () => {
      ending.abort();
      observer.disconnect();
      if (found) URL.revokeObjectURL(found);
    };
  }, [path]);
  return html`<div ref=${place} class=${`remote ${className}`}>
    ${source ? html`<img src=${source} alt=${alt} />` : failure ? html`<span class="gone">${failure}</span>` : null}
  </div>`;
}

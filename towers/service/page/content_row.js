/** A content in a list: what plays it, what it is called, why it stands there and how near it is. */

import { element, icon } from "./dom.js";
import { playButton } from "./player.js";
import { contentLink } from "./routes.js";
import { artistsOf, capital } from "./words.js";

/**
 * @param {object} content
 * @param {object} more `score` and `reasons` of a neighbour; `aside`, a text on the right; `queue`, the contents that
 *   are played through from here; `more`, what stands below
 */
export function contentRow(content, { score = null, reasons = [], aside = null, queue = [], more = null } = {}) {
  const artists = artistsOf(content);
  const about = [content.kind === "track" ? null : capital(content.kind), artists === content.title ? null : artists];
  return element(
    "li",
    { class: "row" },
    cover(content, queue),
    element(
      "div",
      { class: "what" },
      element("a", { class: "title", href: contentLink(content.content_id) }, content.title),
      marks(content),
      element("p", { class: "about" }, about.filter(Boolean).join(" · ")),
      reasons.length > 0 && element("ul", { class: "reasons", "aria-label": "Why" }, reasons.map(reasonChip)),
      more,
    ),
    score === null ? null : scoreBar(score),
    aside && element("span", { class: "aside" }, aside),
  );
}

/** Rows; arrow keys go from one to the next, the space bar plays. */
export function contentList(rows, label) {
  return element("ol", { class: "rows", "aria-label": label, onkeydown: walk }, rows);
}

/** What is new, and what is explicit. */
export function marks(content) {
  return [
    content.is_cold && element("span", { class: "mark new", title: "New: not played by any listener yet" }, "new"),
    content.explicit && element("abbr", { class: "mark", title: "Explicit" }, "E"),
  ];
}

/** The play button, or the drawing of a kind where there is no sound. */
export function cover(content, queue = []) {
  return content.audio ? playButton(content, queue) : element("span", { class: "cover" }, icon(content.kind));
}

function reasonChip({ reason, text }) {
  return element("li", { class: `reason ${reason}` }, text);
}

function scoreBar(score) {
  const filling = element("span", { class: "filling" });
  filling.style.width = `${100 * Math.min(Math.max(score, 0), 1)}%`;
  return element(
    "div",
    { class: "score", title: "Inner product of the two vectors" },
    element("span", {}, score.toFixed(2)),
    element("span", { class: "bar", "aria-hidden": "true" }, filling),
  );
}

function walk(event) {
  const row = event.target.closest(".row");
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
  if (next) next.querySelector(".title").focus();
  else if (event.key === " " && event.target.matches(".title")) row.querySelector("button.play")?.click();
  else return;
  event.preventDefault();
}

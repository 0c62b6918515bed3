/** A list as one sees and hears it: pieces in their order, why each is there, and whose it is. */

import { contentList, contentRow } from "./content_row.js";
import { element, icon } from "./dom.js";
import { play } from "./player.js";
import { clock, count } from "./words.js";

const HUES = 7;

/** The class of a member's colour. */
export function hueOf(place) {
  return `hue-${place % HUES}`;
}

/**
 * @param {object} list an answer of /playlists
 * @param {object} more `showsHeard`: whether what was heard is marked; `nameOf(id)`: what a member is called;
 *   `aside(item, place)`: a text on the right
 */
export function playlistRows(
  { items, remark, facts },
  { showsHeard = false, nameOf = (id) => id, aside = () => null } = {},
) {
  const queue = items.map((item) => item.content).filter((content) => content.audio);
  return element(
    "div",
    { class: "playlist" },
    facts.members.length > 0 && membersLine(facts, nameOf),
    remark && element("p", { class: "remark" }, remark),
    items.length > 0 && playLine(items, queue),
    items.length
      ? contentList(
          items.map((item, place) => row(item, queue, { showsHeard, nameOf, aside: aside(item, place) })),
          "Pieces of the list",
        )
      : element("p", { class: "empty" }, "Nothing may come."),
  );
}

function row(item, queue, { showsHeard, nameOf, aside }) {
  const heard = showsHeard && item.heard ? [{ reason: "heard", text: "heard before" }] : [];
  return contentRow(item.content, {
    reasons: item.shares.length ? [] : [...item.reasons, ...heard],
    queue,
    aside,
    more: item.shares.length > 0 && sharesOf(item, nameOf),
  });
}

function playLine(items, queue) {
  const length = items.reduce((sum, item) => sum + (item.content.duration_ms ?? 0), 0) / 1000;
  const noun = items.every((item) => item.content.kind === "artist") ? "artist" : "piece";
  const facts = [count(items.length, noun), length > 0 && clock(length)].filter(Boolean);
  return element(
    "p",
    { class: "actions" },
    queue.length > 0 &&
      element(
        "button",
        { type: "button", class: "button", onclick: () => play(queue[0], queue) },
        icon("play"),
        "Play through",
      ),
    element("span", { class: "about" }, facts.join(" · ")),
  );
}

function membersLine({ members, match }, nameOf) {
  return element(
    "div",
    { class: "match" },
    match !== null && element("p", {}, element("b", {}, `${Math.round(match)} %`), " taste match"),
    element(
      "ul",
      { class: "legend-line" },
      members.map((member, place) =>
        element("li", {}, element("span", { class: `swatch ${hueOf(place)}`, "aria-hidden": "true" }), nameOf(member)),
      ),
    ),
  );
}

/** Whose a place is, as a bar with a part for each member, and why by member. */
function sharesOf({ shares }, nameOf) {
  const words = shares.map(({ member, share }) => `${nameOf(member)} ${Math.round(100 * share)} %`).join(", ");
  const parts = shares.map(({ share }, place) => {
    const part = element("span", { class: hueOf(place) });
    part.style.width = `${100 * share}%`;
    return part;
  });
  const reasons = shares.flatMap(({ member, reasons: why }, place) =>
    why.map(({ text }) =>
      element(
        "li",
        { class: "reason" },
        element("span", { class: `swatch ${hueOf(place)}`, "aria-hidden": "true" }),
        `${nameOf(member)}: ${text}`,
      ),
    ),
  );
  return [
    element("div", { class: "shares", role: "img", "aria-label": `Whose it is: ${words}`, title: words }, parts),
    element("ul", { class: "reasons", "aria-label": "Why" }, reasons),
  ];
}

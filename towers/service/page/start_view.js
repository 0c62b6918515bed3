/** Where one begins: what is played most, and the ways in. */

import { ask } from "./api.js";
import { contentList, contentRow } from "./content_row.js";
import { element, icon } from "./dom.js";
import { mapLink, playlistLink } from "./routes.js";
import { PLAYABLE_KINDS } from "./words.js";

const SHOWN = 12;

/** The view of `#/`. */
export async function startView(_, signal) {
  const { items } = await ask("/search", { k: SHOWN, kind: PLAYABLE_KINDS }, signal);
  const node = element(
    "div",
    { class: "narrow" },
    element("h1", { tabindex: -1 }, "What the space knows"),
    element(
      "p",
      { class: "lead" },
      "Every content and every listener is a vector in one space. Search a title to hear what stands near it, ",
      "walk on from neighbour to neighbour, or see what a listener would be played next.",
    ),
    element(
      "p",
      { class: "actions" },
      element("a", { class: "button", href: mapLink() }, icon("map"), "Look at the map"),
      element("a", { class: "button", href: "#/listeners" }, icon("listener"), "Pick a listener"),
      element("a", { class: "button", href: playlistLink() }, icon("playlist"), "Make a playlist"),
    ),
    element("h2", {}, "Begin with one of these"),
    items.length
      ? contentList(
          items.map((content) => contentRow(content)),
          "Contents to begin with",
        )
      : element("p", { class: "empty" }, "This version has no contents."),
  );
  return { title: "Towers", node };
}

/** The kinds of lists, to choose one. */

import { ask } from "./api.js";
import { element } from "./dom.js";
import { playlistLink } from "./routes.js";

/** The view of `#/playlists?user=ID&content=ID`, which go along to the kind that is chosen. */
export async function playlistsView(route, signal) {
  const { items } = await ask("/playlists", {}, signal);
  const user = route.query.getAll("user");
  const node = element(
    "div",
    { class: "narrow" },
    element("h1", { tabindex: -1 }, "Playlists"),
    element(
      "p",
      { class: "lead" },
      user.length
        ? `What the space plays ${user.join(" and ")}, by the way it is chosen.`
        : "Lists that the space makes: for one listener, for several, from an editor’s pool, or on from a piece.",
    ),
    element(
      "ul",
      { class: "kinds" },
      items.map((kind) =>
        element(
          "li",
          {},
          element(
            "a",
            { href: playlistLink(kind.name, keptFor(kind, { user })) },
            element("b", {}, kind.title),
            element("span", {}, kind.does),
          ),
        ),
      ),
    ),
  );
  return { title: "Playlists", node };
}

/** The links from one kind to the others; each takes along what it can use of what is asked. */
export function kindTabs(kinds, shown, asked) {
  return element(
    "nav",
    { class: "tabs kinds-tabs", "aria-label": "Kinds of lists" },
    kinds.map((kind) =>
      element(
        "a",
        { href: playlistLink(kind.name, keptFor(kind, asked)), "aria-current": kind.name === shown && "true" },
        kind.title,
      ),
    ),
  );
}

function keptFor({ users, contents, pool }, { user = [], content = [], pool: id = null }) {
  return {
    user: user.slice(0, users.most ?? user.length),
    content: content.slice(0, contents.most ?? content.length),
    pool: pool ? id : null,
  };
}

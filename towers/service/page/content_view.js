/** A content and its neighbours. */

import { ask } from "./api.js";
import { contentList, contentRow, cover } from "./content_row.js";
import { element, icon } from "./dom.js";
import { miniMap } from "./mini_map.js";
import { contentLink, mapLink, playlistLink } from "./routes.js";
import { trailTo } from "./trail.js";
import { capital, clock, day, kindsOf, language } from "./words.js";

const NEIGHBOURS = 20;

/** The view of `#/content/ID`. */
export async function contentView(route, signal) {
  const near = route.query.get("near");
  const [{ content, items }, version] = await Promise.all([
    ask("/similar", { content: route.id, k: NEIGHBOURS, kind: near }, signal),
    ask("/version", {}, signal),
  ]);
  const node = element(
    "div",
    {},
    trailTo(content),
    element(
      "div",
      { class: "columns" },
      element("section", { class: "card", "aria-label": "Content" }, about(content)),
      element(
        "section",
        { "aria-labelledby": "neighbours" },
        element(
          "div",
          { class: "over" },
          element("h2", { id: "neighbours" }, "Nearest in the space"),
          kindTabs(content, near ?? content.kind, kindsOf(version)),
        ),
        items.length
          ? contentList(
              items.map((item) => contentRow(item.content, item)),
              "Neighbours",
            )
          : element("p", { class: "empty" }, `There is no other ${near ?? content.kind} in this version.`),
      ),
    ),
  );
  const begin = () => {
    miniMap(node.querySelector(".place"), content, items);
    return () => {};
  };
  return { title: content.title, node, begin };
}

function about(content) {
  return [
    element("p", { class: "kind" }, icon(content.kind), capital(content.kind)),
    element("h1", { tabindex: -1 }, content.title),
    content.artists.length > 0 && element("p", { class: "artists" }, artistLinks(content)),
    content.is_cold
      ? element(
          "p",
          { class: "cold" },
          "New: not played by any listener yet. It stands here by its sound and metadata alone.",
        )
      : null,
    element(
      "div",
      { class: "actions" },
      content.audio ? element("div", { class: "listen" }, cover(content), element("span", {}, "Listen")) : null,
      element("a", { class: "button", href: mapLink({ content: content.content_id }) }, icon("map"), "On the map"),
      goesOn(content).map(([kind, drawing, text]) =>
        element(
          "a",
          { class: "button", href: playlistLink(kind, { content: content.content_id }) },
          icon(drawing),
          text,
        ),
      ),
    ),
    facts(content),
    element("div", { class: "place" }),
  ];
}

/** The kinds of lists that go on from a content. */
function goesOn({ kind }) {
  const radio = ["radio", "radio", "Radio"];
  if (kind === "playlist") return [["continuation", "playlist", "What goes on"]];
  if (kind === "artist") return [radio, ["similar_artists", "artist", "Similar artists"]];
  return [radio, ["path", "path", "Path from here"]];
}

function artistLinks(content) {
  return content.artists.flatMap((artist, place) => {
    // An artist without a row of their own is called by the id and has no page.
    const isKnown = artist.name !== artist.id && artist.id !== content.content_id;
    const name = isKnown ? element("a", { href: contentLink(artist.id) }, artist.name) : artist.name;
    return place ? [", ", name] : [name];
  });
}

function facts(content) {
  const genres = content.genres.map((genre) => element("a", { class: "chip", href: mapLink({ genre }) }, genre));
  const shown = [
    ["Genres", genres.length ? genres : null],
    ["Released", content.release_date && day(content.release_date)],
    ["Length", content.duration_ms && clock(content.duration_ms / 1000)],
    ["Language", content.language && language(content.language)],
    ["Album", content.album_id && element("code", {}, content.album_id)],
    ["Explicit", content.explicit && "yes"],
    ["Id", element("code", {}, content.content_id)],
  ];
  return element(
    "dl",
    { class: "facts" },
    shown.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

function kindTabs(content, chosen, kinds) {
  return element(
    "nav",
    { class: "tabs", "aria-label": "Kind of neighbours" },
    kinds.map((kind) =>
      element(
        "a",
        {
          href: contentLink(content.content_id, kind === content.kind ? null : kind),
          "aria-current": kind === chosen && "true",
        },
        `${capital(kind)}s`,
      ),
    ),
  );
}

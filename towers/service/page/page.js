/** The page: an address is shown as a view; an older one that is still being fetched is let go. */

import { ask } from "./api.js";
import { combobox } from "./combobox.js";
import { marks } from "./content_row.js";
import { contentView } from "./content_view.js";
import { element, icon } from "./dom.js";
import { homeView } from "./home_view.js";
import { listenerView } from "./listener_view.js";
import { listenersView } from "./listeners_view.js";
import { mapView } from "./map_view.js";
import { playlistView } from "./playlist_view.js";
import { playlistsView } from "./playlists_view.js";
import { contentLink, routeOf } from "./routes.js";
import { startView } from "./start_view.js";
import { watchVersion } from "./version.js";
import { artistsOf } from "./words.js";

const VIEWS = {
  start: startView,
  content: contentView,
  listeners: listenersView,
  listener: listenerView,
  home: homeView,
  playlists: playlistsView,
  playlist: playlistView,
  map: mapView,
};
const main = document.getElementById("view");
const search = document.getElementById("search");
const places = new Map();
let asked = null;
let leave = () => {};
let entry = 0;
let shown = null;

async function show() {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const route = routeOf(location.hash);
  main.setAttribute("aria-busy", "true");
  // An entry of the browser's history that is met again has its number, and so the place where one was on it.
  if (!history.state?.entry) history.replaceState({ entry: Date.now() + Math.random() }, "");
  entry = history.state.entry;
  try {
    const view = await (VIEWS[route.name] ?? noView)(route, signal);
    if (!signal.aborted) mount(view, route);
  } catch (error) {
    if (!signal.aborted) mount(failure(error), route);
  }
}

function mount({ title, node, begin = () => () => {} }, route) {
  // Another filter of the same thing leaves one where one is.
  const isSame = route.name === shown?.name && route.id === shown.id;
  const held = isSame ? selectorOf(document.activeElement) : null;
  const height = isSame ? window.scrollY : 0;
  shown = route;
  leave();
  main.replaceChildren(node);
  main.setAttribute("aria-busy", "false");
  main.dataset.view = route.name;
  document.title = title === "Towers" ? title : `${title} · Towers`;
  for (const link of document.querySelectorAll("header nav a")) {
    if (routeOf(link.hash).name.startsWith(route.name)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave = begin();
  window.scrollTo(0, places.get(entry) ?? height);
  (main.querySelector(held ?? "h1") ?? main).focus({ preventScroll: true });
}

/** Finds a filter or a link again in a view that is made anew. */
function selectorOf(focused) {
  if (!main.contains(focused)) return null;
  if (focused.matches("input[name]")) return `input[name="${focused.name}"][value="${focused.value}"]`;
  return focused.matches("a") ? `a[href="${CSS.escape(focused.getAttribute("href"))}"]` : null;
}

function noView() {
  return { title: "Nothing here", node: message("Nothing here", "This address leads nowhere.") };
}

function failure(error) {
  const isUnknown = error.status === 404;
  const again = element("button", { type: "button", class: "button", onclick: show }, "Try again");
  const heading = isUnknown ? "Not found" : "That did not work";
  return { title: heading, node: message(heading, error.message, isUnknown ? null : again) };
}

function message(heading, text, action = null) {
  return element(
    "div",
    { class: "narrow message", role: "alert" },
    element("h1", { tabindex: -1 }, heading),
    element("p", {}, text),
    element("p", { class: "actions" }, action, element("a", { class: "button", href: "#/" }, "To the start")),
  );
}

combobox(search, {
  noun: "result",
  find: async (q, signal) => (await ask("/search", { q, k: 12 }, signal)).items,
  show: (content) => [
    icon(content.kind),
    element("b", {}, content.title, marks(content)),
    element("span", {}, artistsOf(content) === content.title ? content.kind : artistsOf(content)),
  ],
  choose: (content) => {
    location.hash = contentLink(content.content_id);
  },
});

window.addEventListener("hashchange", () => {
  search.value = "";
  show();
});
window.addEventListener(
  "scroll",
  () => main.getAttribute("aria-busy") === "false" && places.set(entry, window.scrollY),
);
document.querySelector("a.skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  search.focus();
  search.select();
});
history.scrollRestoration = "manual";
watchVersion(show);
show();

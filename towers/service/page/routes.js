/** Addresses within the page, such as #/content/ID, so that back, forward and bookmarks work. */

import { queryOf } from "./api.js";

/** `{name, id, query}` of an address; the start where it is none of ours. */
export function routeOf(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/");
  return { name: name || "start", id: decoded(rest.join("/")), query: new URLSearchParams(query ?? "") };
}

/** Of a content; `near` is a kind of neighbours. */
export function contentLink(id, near = null) {
  return `#/content/${encodeURIComponent(id)}${queryOf({ near })}`;
}

/** Of a listener; filters as in `listener_view.js`. */
export function listenerLink(id, filters = {}) {
  return `#/listener/${encodeURIComponent(id)}${queryOf(filters)}`;
}

/** Of a listener's home page. */
export function homeLink(id) {
  return `#/home/${encodeURIComponent(id)}`;
}

/** Of the map with a content and its neighbours, a listener's history, the pieces of a way, or a genre. */
export function mapLink(marked = {}) {
  return `#/map${queryOf(marked)}`;
}

/** Of a kind of list with whom and what it is for, as `playlist_view.js` reads it; of all kinds without one. */
export function playlistLink(kind = null, asked = {}) {
  return `#/${kind ? `playlist/${kind}` : "playlists"}${queryOf(asked)}`;
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

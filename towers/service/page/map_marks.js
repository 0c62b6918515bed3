/** What is marked on a map: a content and its neighbours, what a listener heard and is recommended, or a way. */

import { ask } from "./api.js";
import { contentLink, listenerLink } from "./routes.js";

const HISTORY = 100;
const NEAR = 20;
const LINKED = 12;

/** Of `?content=ID`, `?listener=ID` or `?way=ID&way=ID`, by id; null where none is asked for. */
export async function markedOf(query, signal) {
  const [content, listener] = [query.get("content"), query.get("listener")];
  if (content !== null) {
    const found = await ask("/similar", { content, k: NEAR }, signal);
    return {
      kind: "content",
      link: contentLink(content),
      name: found.content.title,
      selected: content,
      near: found.items.map((item) => item.content.content_id),
      history: [],
    };
  }
  const way = query.getAll("way");
  if (way.length > 1) {
    const link = contentLink(way.at(-1));
    return { kind: "way", link, name: `A way of ${way.length} pieces`, selected: null, near: [], history: way };
  }
  if (listener === null) return null;
  const [user, found] = await Promise.all([
    ask(`/user/${encodeURIComponent(listener)}`, { k: HISTORY }, signal),
    ask("/recommend", { user: listener, k: NEAR }, signal),
  ]);
  return {
    kind: "listener",
    link: listenerLink(listener),
    name: listener,
    selected: null,
    near: found.items.map((item) => item.content.content_id),
    history: user.history.map((event) => event.content.content_id).reverse(),
  };
}

/** The same by place among `ids`; what is not drawn is left out. */
export function markedPlaces({ kind, selected, near, history }, ids) {
  const places = new Map(ids.map((id, place) => [id, place]));
  const known = (wanted) => wanted.map((id) => places.get(id) ?? -1).filter((place) => place >= 0);
  const linked = kind === "way" ? history.length : LINKED;
  return { selected: places.get(selected) ?? -1, near: known(near), history: known(history), linked };
}

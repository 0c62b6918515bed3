/** An editor's pool, and what a listener gets of it, side by side. */

import { ask, fetched } from "./api.js";
import { element, say } from "./dom.js";
import { listenerPicks } from "./picks.js";
import { playlistRows } from "./playlist_rows.js";
import { draftOf, forgetDraft } from "./pool_draft.js";
import { poolEditor } from "./pool_editor.js";
import { playlistLink } from "./routes.js";

const PAUSE_MS = 150;

/** The view of `#/playlist/algotorial?pool=ID&user=ID` below its `top`. */
export async function poolView(kind, asked, top, signal) {
  const { items: pools } = await ask("/pools", {}, signal);
  const id = asked.pool ?? pools[0]?.pool_id ?? null;
  const user = asked.user[0] ?? null;
  const go = (changes) => (location.hash = playlistLink(kind.name, { pool: id, user: asked.user, ...changes }));
  if (id === null) {
    const none = element(
      "p",
      { class: "empty" },
      "This version has no playlists of editors; propose a pool of your own.",
    );
    return { title: kind.title, node: element("div", { class: "narrow" }, top, none) };
  }
  const draft = await draftOf(id, signal);
  const list = element("div");
  const again = element(
    "button",
    {
      type: "button",
      class: "button",
      onclick: () => {
        forgetDraft(id);
        dispatchEvent(new HashChangeEvent("hashchange"));
      },
    },
    "Undo all changes",
  );
  let pause = 0;
  let trying = null;

  async function tryOut() {
    trying?.abort();
    again.hidden = !draft.isChanged;
    if (user === null) {
      list.replaceChildren(element("p", { class: "empty" }, "Pick a listener to see the pool in their order."));
      return;
    }
    const mine = (trying = new AbortController());
    try {
      const made = await fetched(`/playlists/${kind.name}`, mine.signal, { users: [user], pool: draft.told });
      if (mine.signal.aborted) return;
      const placeOf = new Map(draft.contents.map((content, place) => [content.content_id, place + 1]));
      const aside = (item, place) => comparedWith(placeOf.get(item.content.content_id), place + 1);
      list.replaceChildren(playlistRows(made, { aside }));
      say(`The list of ${user} is made anew`);
    } catch (error) {
      if (!mine.signal.aborted) list.replaceChildren(element("p", { class: "remark", role: "alert" }, error.message));
    }
  }

  function changed() {
    again.hidden = false;
    clearTimeout(pause);
    pause = setTimeout(tryOut, PAUSE_MS);
  }

  const node = element(
    "div",
    {},
    top,
    element(
      "div",
      { class: "controls" },
      element(
        "label",
        { class: "number" },
        "Pool",
        poolChoice(pools, id, draft, (pool) => go({ pool })),
      ),
      listenerPicks({
        name: "user",
        label: "For listener",
        most: 1,
        chosen: asked.user.slice(0, 1).map((one) => ({ id: one, text: one, icon: "listener" })),
        change: (ids) => go({ user: ids }),
      }),
    ),
    element(
      "div",
      { class: "halves" },
      element(
        "section",
        { "aria-labelledby": "editors" },
        element("div", { class: "over" }, element("h2", { id: "editors" }, draft.title || "The editor’s pool"), again),
        element("p", { class: "about" }, "Changes stay on this page; nothing is written on the server."),
        poolEditor(draft, changed),
      ),
      element(
        "section",
        { "aria-labelledby": "own" },
        element(
          "div",
          { class: "over" },
          element("h2", { id: "own" }, user === null ? "A listener’s list" : `The list of ${user}`),
        ),
        list,
      ),
    ),
  );
  const begin = () => {
    tryOut();
    return () => {
      clearTimeout(pause);
      trying?.abort();
    };
  };
  return { title: kind.title, node, begin };
}

function poolChoice(pools, id, draft, choose) {
  const known = pools.map((pool) => [pool.pool_id, pool.title || pool.pool_id]);
  const all = known.some(([one]) => one === id) ? known : [[id, draft.title], ...known];
  return element(
    "select",
    { name: "pool", onchange: (event) => choose(event.target.value) },
    all.map(([one, title]) => element("option", { value: one, selected: one === id }, title)),
  );
}

/** Where the editor has it, and how far the listener's own order moves it. */
function comparedWith(editors, own) {
  const moved = editors - own;
  return `${moved > 0 ? "↑" : moved < 0 ? "↓" : "="} editor’s ${editors}`;
}

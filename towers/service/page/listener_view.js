/** What a listener heard, beside what is recommended. The filters stand in the address. */

import { ask } from "./api.js";
import { contentList, contentRow } from "./content_row.js";
import { dial } from "./dial.js";
import { element, icon } from "./dom.js";
import { personHead } from "./listeners_view.js";
import { homeLink, listenerLink, mapLink, playlistLink } from "./routes.js";
import { PLAYABLE_KINDS, capital, count, day, kindsOf, moment } from "./words.js";

const HISTORY = 30;
const RECOMMENDED = 20;
const OTHERS = ["heard", "explicit", "familiar"];
const DIAL_SINCE = 3; // format of the first exports that know the chance of a listen, which familiar lists need

/** The view of `#/listener/ID?kind=track&heard=true&explicit=false&familiar=.3`. */
export async function listenerView(route, signal) {
  const filters = filtersOf(route.query);
  const [user, recommended, version] = await Promise.all([
    ask(`/user/${encodeURIComponent(route.id)}`, { k: HISTORY }, signal),
    ask(
      "/recommend",
      {
        user: route.id,
        k: RECOMMENDED,
        kind: filters.kinds,
        include_heard: filters.heard,
        explicit: filters.explicit,
        familiar: filters.familiar,
      },
      signal,
    ),
    ask("/version", {}, signal),
  ]);
  const facts = [count(user.num_events, "event"), user.as_of && `until ${day(user.as_of)}`].filter(Boolean);
  const node = element(
    "div",
    {},
    personHead("Listener", user.user_id, element("p", { class: "about" }, facts.join(" · ")), [
      element("a", { class: "button", href: playlistLink(null, { user: user.user_id }) }, icon("playlist"), "Playlists"),
      element("a", { class: "button", href: homeLink(user.user_id) }, icon("whole"), "Home page"),
    ]),
    element(
      "div",
      { class: "halves" },
      element(
        "section",
        { "aria-labelledby": "recommended" },
        element(
          "div",
          { class: "over" },
          element("h2", { id: "recommended" }, "Recommended"),
          filterBox(route, filters, kindsOf(version, PLAYABLE_KINDS)),
        ),
        version.format >= DIAL_SINCE && dial(filters.familiar, null, (familiar) => goTo(route, { familiar })),
        recommendations(recommended.items),
      ),
      element(
        "section",
        { "aria-labelledby": "heard" },
        element(
          "div",
          { class: "over" },
          element("h2", { id: "heard" }, "Heard lately"),
          element("a", { class: "button", href: mapLink({ listener: user.user_id }) }, icon("map"), "On the map"),
        ),
        history(user.history),
      ),
    ),
  );
  return { title: `Listener ${user.user_id}`, node };
}

function filtersOf(query) {
  const kinds = query.getAll("kind").filter((kind) => PLAYABLE_KINDS.includes(kind));
  return {
    kinds: kinds.length ? kinds : PLAYABLE_KINDS,
    heard: query.get("heard") === "true",
    explicit: query.get("explicit") !== "false",
    familiar: query.has("familiar") ? Number(query.get("familiar")) : null,
  };
}

/** The same page with other filters; those that are not named stay. */
function goTo({ id, query }, changes) {
  const kept = { kind: query.getAll("kind"), ...Object.fromEntries(OTHERS.map((name) => [name, query.get(name)])) };
  location.hash = listenerLink(id, { ...kept, ...changes });
}

function filterBox(route, filters, offered) {
  const box = (name, value, text, isOn) =>
    element(
      "label",
      { class: "filter" },
      element("input", { type: "checkbox", name, value, ...(isOn ? { checked: true } : {}) }),
      text,
    );
  const form = element(
    "form",
    {
      class: "filters",
      "aria-label": "Filters",
      onchange: () => {
        const data = new FormData(form);
        const kinds = data.getAll("kind");
        goTo(route, {
          kind: kinds.length === offered.length ? [] : kinds,
          heard: data.has("heard") ? true : null,
          explicit: data.has("explicit") ? null : false,
        });
      },
    },
    offered.map((kind) => box("kind", kind, `${capital(kind)}s`, filters.kinds.includes(kind))),
    box("heard", "true", "Heard before", filters.heard),
    box("explicit", "true", "Explicit", filters.explicit),
  );
  return form;
}

function recommendations(items) {
  if (!items.length) return element("p", { class: "empty" }, "Nothing passes these filters.");
  return contentList(
    items.map((item) => contentRow(item.content, item)),
    "Recommended",
  );
}

function history(events) {
  if (!events.length) return element("p", { class: "empty" }, "Nothing yet.");
  return contentList(
    events.map(({ content, timestamp, action }) =>
      contentRow(content, {
        aside: [action === "play" ? null : action, timestamp && moment(timestamp)].filter(Boolean).join(" · "),
      }),
    ),
    "Heard lately, newest first",
  );
}

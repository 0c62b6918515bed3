/** A list of one kind, and whom and what it is for; all of it stands in the address. */

import { Refusal, ask } from "./api.js";
import { dial } from "./dial.js";
import { element, icon } from "./dom.js";
import { contentPicks, listenerPicks } from "./picks.js";
import { hueOf, playlistRows } from "./playlist_rows.js";
import { kindTabs } from "./playlists_view.js";
import { poolDraft } from "./pool_draft.js";
import { poolView } from "./pool_view.js";
import { mapLink, playlistLink } from "./routes.js";

const MANY = 20;
const PARTNERS = ["artist", "playlist"];
const CONTENTS = { path: "From and to", journey: "From and to", arithmetic: "Sum of", similar_artists: "Like", pool_proposal: "Around" };

/** The view of `#/playlist/KIND?user=ID&content=ID&minus=ID&partner=ID&to=REGION&familiar=.3&pool=ID`. */
export async function playlistView(route, signal) {
  const { items: kinds, regions } = await ask("/playlists", {}, signal);
  const kind = kinds.find((one) => one.name === route.id);
  if (!kind) throw new Refusal(`There is no kind of list called ${route.id}.`, 404);
  const asked = askedOf(route.query);
  const top = element(
    "div",
    { class: "list-top" },
    kindTabs(kinds, kind.name, asked),
    element("h1", { tabindex: -1 }, kind.title),
    element("p", { class: "lead" }, kind.does),
  );
  if (kind.pool) return poolView(kind, asked, top, signal);
  const [made, titles] = await Promise.all([madeOf(kind, asked, signal), titlesOf(asked, signal)]);
  const node = element(
    "div",
    { class: "narrow" },
    top,
    controls(kind, asked, titles, made, regions),
    element("section", { class: "made", "aria-label": kind.title }, shown(kind, made, titles)),
  );
  return { title: kind.title, node };
}

function askedOf(query) {
  const familiar = query.get("familiar");
  return {
    user: query.getAll("user"),
    content: query.getAll("content"),
    minus: query.getAll("minus"),
    partner: query.getAll("partner"),
    to: query.get("to"),
    familiar: familiar === null ? null : Number(familiar),
    pool: query.get("pool"),
  };
}

/** The list, `{hint}` where something is not said yet, or `{error}`. */
async function madeOf(kind, asked, signal) {
  const listeners = asked.user.length + (kind.partners ? asked.partner.length : 0);
  const contents = kind.from_home && asked.user.length ? kind.contents.least : asked.content.length;
  const lacking = [
    [kind.users.least - listeners, kind.users.least > 1 ? "listeners" : "a listener"],
    [kind.contents.least - contents - (kind.to && asked.to ? 1 : 0), whatOf(kind)],
  ].filter(([number]) => number > 0);
  if (lacking.length) return { hint: `Pick ${lacking.map(([, what]) => what).join(" and ")}.` };
  try {
    return await ask(`/playlists/${kind.name}`, asked, signal);
  } catch (error) {
    if (error.name === "AbortError" || error.status !== 422) throw error;
    return { error: error.message };
  }
}

function whatOf({ of, contents, from_home: isFromHome }) {
  if (contents.least > 1) return isFromHome ? "a listener or both ends" : "both ends";
  return of.length === 1 ? `an ${of[0]}` : "a piece";
}

/** Titles of all contents that are asked about, by id. */
async function titlesOf({ content, minus, partner }, signal) {
  const ids = [...new Set([...content, ...minus, ...partner])];
  const found = await Promise.all(ids.map((id) => ask(`/content/${encodeURIComponent(id)}`, {}, signal)));
  return new Map(found.map((one) => [one.content_id, { id: one.content_id, text: one.title, icon: one.kind }]));
}

function controls(kind, asked, titles, made, regions) {
  const go = (changes) => (location.hash = playlistLink(kind.name, { ...asked, ...changes }));
  const contents = (name, label, kinds, most = MANY) =>
    contentPicks({
      name,
      label,
      kinds,
      most,
      chosen: asked[name].map((id) => ({ ...titles.get(id), hue: hueOfMember(id) })),
      change: (ids) => go({ [name]: ids }),
    });
  const members = made.facts?.members ?? [];
  const hueOfMember = (id) => members.includes(id) && hueOf(members.indexOf(id));
  return element(
    "div",
    { class: "controls" },
    kind.users.most !== 0 &&
      listenerPicks({
        name: "user",
        label: kind.users.most === 1 ? "Listener" : "Listeners",
        most: kind.users.most ?? MANY,
        chosen: asked.user.map((id) => ({ id, text: id, icon: "listener", hue: hueOfMember(id) })),
        change: (ids) => go({ user: ids }),
      }),
    kind.partners && contents("partner", "Artists and playlists", PARTNERS),
    kind.contents.most !== 0 &&
      contents("content", CONTENTS[kind.name] ?? "Goes on from", kind.of, kind.contents.most ?? MANY),
    kind.to && regions.length > 0 && regionChoice(regions, asked.to, (to) => go({ to })),
    kind.minus && contents("minus", "Less", kind.of),
    kind.familiar && made.items && dial(asked.familiar, heardShare(made.items), (familiar) => go({ familiar })),
  );
}

/** Where a journey leads, of the regions of the space. */
function regionChoice(regions, chosen, change) {
  const select = element(
    "select",
    { name: "to", "aria-label": "To the region", onchange: (event) => change(event.target.value || null) },
    element("option", { value: "" }, "–"),
    regions.map((name) => element("option", { value: name, selected: name === chosen }, name)),
  );
  return element("fieldset", { class: "picks" }, element("legend", {}, "To the region"), select);
}

function heardShare(items) {
  return items.length ? items.filter((item) => item.heard).length / items.length : null;
}

function shown(kind, made, titles) {
  if (made.hint) return element("p", { class: "empty" }, made.hint);
  if (made.error) return element("p", { class: "remark", role: "alert" }, made.error);
  const edit = element("button", { type: "button", class: "button" }, icon("playlist"), "Edit as a pool");
  edit.addEventListener("click", () => {
    location.hash = playlistLink("algotorial", { pool: poolDraft(made.items.map((item) => item.content)) });
  });
  const isWay = kind.contents.least === 2 && made.items.length > 1;
  const way = isWay && mapLink({ way: made.items.map((item) => item.content.content_id) });
  return [
    isWay && element("p", { class: "actions" }, element("a", { class: "button", href: way }, icon("map"), "On the map")),
    made.facts?.region && element("p", { class: "about" }, `Leads to the region ${made.facts.region}.`),
    kind.name === "pool_proposal" && element("p", { class: "actions" }, edit, `${made.facts.new} of them are new`),
    playlistRows(made, { showsHeard: kind.familiar, nameOf: (id) => titles.get(id)?.text ?? id }),
  ];
}

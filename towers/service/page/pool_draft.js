/** Editors' pools as they are changed on this page. Nothing is written on the server: a draft is only sent to be tried. */

import { Refusal, ask } from "./api.js";

const PROPOSED = "proposed";
const drafts = new Map();

/** Keeps some contents as a pool to change; gives its id. */
export function poolDraft(contents) {
  drafts.set(PROPOSED, new Draft({ title: "Proposed pool" }, contents));
  return PROPOSED;
}

/** The draft of a pool, begun with what the editor made. */
export async function draftOf(id, signal) {
  if (!drafts.has(id)) {
    if (id === PROPOSED) throw new Refusal("The proposed pool is gone; propose one again.", 404);
    const { pool, contents } = await ask(`/pools/${encodeURIComponent(id)}`, {}, signal);
    drafts.set(id, new Draft(pool, contents));
  }
  return drafts.get(id);
}

/** Lets the changes of a pool go. */
export function forgetDraft(id) {
  drafts.delete(id);
}

class Draft {
  constructor({ title, k = 30, order = "free", pins = [], quotas = [] }, contents) {
    this.title = title;
    this.contents = [...contents];
    this.k = k;
    this.order = order;
    this.pins = new Map(pins.map((pin) => [pin.content, pin.place]));
    this.quotas = quotas.map((quota) => ({ ...quota }));
    this.isChanged = false;
  }

  /** Genres of its contents, the most frequent first. */
  get genres() {
    const counts = new Map();
    for (const genre of this.contents.flatMap((content) => content.genres))
      counts.set(genre, (counts.get(genre) ?? 0) + 1);
    return [...counts].sort((one, other) => other[1] - one[1]);
  }

  /** As `/playlists/algotorial` takes it. */
  get told() {
    return {
      title: this.title,
      contents: this.contents.map((content) => content.content_id),
      k: this.k,
      order: this.order,
      pins: [...this.pins].map(([content, place]) => ({ place, content })),
      quotas: this.quotas.filter((quota) => quota.minimum != null || quota.maximum != null),
    };
  }

  /** A content changes its place with a neighbour. */
  move(place, step) {
    const other = place + step;
    if (other < 0 || other >= this.contents.length) return;
    [this.contents[place], this.contents[other]] = [this.contents[other], this.contents[place]];
  }

  /** A content moves to another place. */
  carry(from, to) {
    this.contents.splice(to, 0, ...this.contents.splice(from, 1));
  }

  remove(place) {
    const [gone] = this.contents.splice(place, 1);
    this.pins.delete(gone.content_id);
  }

  /** A new content comes first, where one sees it. */
  add(content) {
    this.contents.unshift(content);
  }

  /** Pins a content where it stands, or at the last place of a list; or lets it go. */
  togglePin(place) {
    const id = this.contents[place].content_id;
    if (!this.pins.delete(id)) this.pins.set(id, Math.min(place + 1, this.k));
  }
}

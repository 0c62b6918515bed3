/** Numbers, lengths and times as people read them. */

export const KINDS = ["track", "episode", "audiobook", "artist", "playlist"];
export const PLAYABLE_KINDS = ["track", "episode", "audiobook"];

/** Those of `kinds` that a version has, by what `/version` counts; all where it does not count kinds. */
export function kindsOf({ counts }, kinds = KINDS) {
  const found = kinds.filter((kind) => counts?.[`${kind}s`] > 0);
  return found.length ? found : kinds;
}

/** `1,234 events`, `1 event`. */
export function count(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** `4:05`, or `1:02:03`; of seconds. */
export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–:––";
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const shown = parts[0] ? parts : parts.slice(1);
  return shown.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

/** `28 August 2025`, of an ISO date or time. */
export function day(iso) {
  const date = new Date(iso.length === 10 ? `${iso}T00:00:00Z` : iso);
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
}

/** `28 Aug, 14:05`, of an ISO time. */
export function moment(iso) {
  return new Date(iso).toLocaleString("en-GB", {
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
    timeZone: "UTC",
  });
}

/** Of a language's code its name where the browser knows one. */
export function language(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code);
  } catch {
    return code;
  }
}

/** `Track`. */
export function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Who made it, in one line. */
export function artistsOf(content) {
  return content.artists.map((artist) => artist.name).join(", ");
}

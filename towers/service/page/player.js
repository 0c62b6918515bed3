/** Plays one sound at a time; it goes on while one walks from content to content, and a list to its end. */

import { addressOf } from "./api.js";
import { element, icon } from "./dom.js";
import { contentLink } from "./routes.js";
import { artistsOf, clock } from "./words.js";

const audio = element("audio", { preload: "none" });
const bar = document.getElementById("player");
let current = null;
let queue = [];

const toggle = element(
  "button",
  { class: "play", type: "button", onclick: () => play(current, queue) },
  icon("play"),
  icon("pause"),
);
const back = skipButton("back", "Previous piece", -1);
const next = skipButton("next", "Next piece", 1);
const title = element("a", { class: "title" });
const artists = element("span", { class: "artists" });
const place = element("input", { type: "range", min: 0, max: 1000, value: 0, "aria-label": "Place in the sound" });
const times = element("output", { class: "times" });
bar.append(
  audio,
  element("div", { class: "steps" }, back, toggle, next),
  element("div", { class: "names" }, title, artists),
  place,
  times,
);

/**
 * Plays a content, or pauses it where it is playing.
 * @param {object} content with sound
 * @param {Array<object>} list of contents that it is one of, which are played on to the last
 */
export async function play(content, list = []) {
  queue = list;
  if (current?.content_id !== content.content_id) {
    current = content;
    audio.src = addressOf(content.audio);
    title.textContent = content.title;
    title.href = contentLink(content.content_id);
    artists.textContent = artistsOf(content);
    toggle.dataset.plays = content.content_id;
    toggle.setAttribute("aria-label", `Play ${content.title}`);
    back.hidden = next.hidden = queue.length < 2;
    back.disabled = !neighbour(-1);
    next.disabled = !neighbour(1);
    bar.hidden = false;
    document.body.classList.add("playing");
  } else if (!audio.paused) {
    audio.pause();
    return;
  }
  try {
    await audio.play();
  } catch (error) {
    // Another sound may have been asked for before this one began.
    if (error.name !== "AbortError") times.textContent = "cannot be played";
  }
}

/** The next content of the list with sound, or the last one before; none at its ends. */
function neighbour(step) {
  const place = queue.findIndex((content) => content.content_id === current?.content_id);
  const others = step > 0 ? queue.slice(place + 1) : queue.slice(0, Math.max(place, 0)).reverse();
  return others.find((content) => content.audio);
}

function walk(step) {
  const found = neighbour(step);
  if (found) play(found, queue);
}

function skipButton(name, label, step) {
  return element(
    "button",
    { class: "skip-piece", type: "button", "aria-label": label, hidden: true, onclick: () => walk(step) },
    icon(name),
  );
}

/** A button for a content with sound; `list` as of `play`. */
export function playButton(content, list = []) {
  const button = element(
    "button",
    {
      class: "play",
      type: "button",
      "data-plays": content.content_id,
      "aria-label": `Play ${content.title}`,
      onclick: () => play(content, list),
    },
    icon("play"),
    icon("pause"),
  );
  button.setAttribute("aria-pressed", String(isPlaying(content.content_id)));
  return button;
}

function isPlaying(id) {
  return !audio.paused && current?.content_id === id;
}

function showState() {
  for (const button of document.querySelectorAll("button[data-plays]")) {
    button.setAttribute("aria-pressed", String(isPlaying(button.dataset.plays)));
  }
}

function showTime() {
  const isKnown = Number.isFinite(audio.duration) && audio.duration > 0;
  place.disabled = !isKnown;
  place.value = isKnown ? (1000 * audio.currentTime) / audio.duration : 0;
  place.setAttribute("aria-valuetext", `${clock(audio.currentTime)} of ${clock(audio.duration)}`);
  place.style.setProperty("--done", `${place.value / 10}%`);
  times.textContent = `${clock(audio.currentTime)} / ${clock(audio.duration)}`;
}

for (const change of ["play", "playing", "pause", "ended", "emptied"]) audio.addEventListener(change, showState);
audio.addEventListener("ended", () => walk(1));
for (const change of ["timeupdate", "durationchange", "seeked"]) audio.addEventListener(change, showTime);
audio.addEventListener("error", () => {
  times.textContent = "cannot be played";
});
place.addEventListener("input", () => {
  audio.currentTime = (place.value / 1000) * audio.duration;
});

/** Draws a map: a dot each content, a ring for a content that no listener has played, and what is marked on top. */

import { Camera, boundsOf } from "./map_camera.js";
import { HUES } from "./map_groups.js";
import { placed } from "./map_labels.js";

const NOTHING = { selected: -1, near: [], history: [], linked: 0 };
const LABELLED = 60;
const WIDE = 860;
const SMALL = 340;
const MANY = 4000;
const PANELS = 232;
const REACH = 14;
const FONT = "12.5px system-ui, sans-serif";

export class MapCanvas {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {{x: number[], y: number[], title: string[], is_cold: boolean[]}} points
   * @param {boolean} hasLabels whether titles stand beside points
   */
  constructor(canvas, points, { hasLabels = true } = {}) {
    this.hasLabels = hasLabels;
    this.canvas = canvas;
    this.points = points;
    this.camera = new Camera(points.x, points.y);
    this.groups = new Int8Array(points.x.length).fill(-1);
    this.only = null;
    this.marked = NOTHING;
    this.hovered = -1;
    this.hasCross = false;
    this.frame = 0;
    this.readColours();
  }

  /** Takes the colours from the style sheet, again where light and dark change. */
  readColours() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    this.hues = Array.from({ length: HUES }, (_, place) => colour(`--hue-${place}`));
    this.grey = colour("--dot");
    this.ink = colour("--ink");
    this.ground = colour("--ground");
    this.accent = colour("--accent");
    this.redraw();
  }

  /** Fits the canvas to its box. */
  resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    this.density = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(width * this.density));
    this.canvas.height = Math.max(1, Math.round(height * this.density));
    this.camera.resize(Math.max(width, 1), Math.max(height, 1), width > WIDE ? PANELS : 0);
    this.redraw();
  }

  /** The whole, or what is marked and its surroundings. */
  frameMarked() {
    const { selected, near, history } = this.marked;
    const places = [selected, ...near, ...history].filter((place) => place >= 0);
    if (places.length) this.camera.show(boundsOf(this.points.x, this.points.y, places));
    else this.camera.reset();
    this.redraw();
  }

  /** Draws before the next frame, once. */
  redraw() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** The point nearest to a pixel, or -1 where there is none within reach. */
  nearest(px, py, reach = REACH) {
    const { x, y } = this.points;
    let [found, least] = [-1, reach * reach];
    for (let place = 0; place < x.length; place++) {
      const [dx, dy] = [this.camera.x(x[place]) - px, this.camera.y(y[place]) - py];
      const distance = dx * dx + dy * dy;
      if (distance < least) [found, least] = [place, distance];
    }
    return found;
  }

  draw() {
    const drawing = this.canvas.getContext("2d");
    drawing.setTransform(this.density, 0, 0, this.density, 0, 0);
    drawing.clearRect(0, 0, this.camera.width, this.camera.height);
    this.radius = this.radiusNow();
    const visible = this.visible();
    this.drawDots(drawing, visible);
    this.drawMarked(drawing);
    if (this.hasLabels) this.drawLabels(drawing, visible);
    if (this.hasCross) this.drawCross(drawing);
    this.canvas.dataset.drawn = String(visible.length);
  }

  /** Larger as one comes closer, smaller where there are many or the canvas is small. */
  radiusNow() {
    const isDense = this.points.x.length > MANY || this.camera.width < SMALL;
    return Math.min(2.2 + 0.9 * Math.log2(1 + this.camera.zoom), 7) * (isDense ? 0.7 : 1);
  }

  visible() {
    const { camera, points } = this;
    const found = [];
    for (let place = 0; place < points.x.length; place++) {
      const [x, y] = [camera.x(points.x[place]), camera.y(points.y[place])];
      if (x > -8 && y > -8 && x < camera.width + 8 && y < camera.height + 8) found.push(place);
    }
    return found;
  }

  /** Grey ones first, so that colours lie on top. Disc by disc: quicker than one long path, or copies of a picture. */
  drawDots(drawing, visible) {
    const hasMarks = this.marked !== NOTHING;
    for (let group = -1; group < HUES; group++) {
      const isFaint = (this.only !== null && group !== this.only) || hasMarks;
      drawing.globalAlpha = isFaint ? 0.28 : 0.85;
      drawing.fillStyle = drawing.strokeStyle = this.hues[group] ?? this.grey;
      drawing.lineWidth = 1.6;
      for (const place of visible) {
        if (this.groups[place] !== group) continue;
        disc(drawing, ...this.at(place), this.radius);
        if (this.points.is_cold[place]) drawing.stroke();
        else drawing.fill();
      }
    }
  }

  drawMarked(drawing) {
    const { selected, near, history, linked } = this.marked;
    drawing.lineWidth = 1;
    drawing.strokeStyle = this.accent;
    drawing.globalAlpha = 0.5;
    drawing.beginPath();
    if (selected >= 0) for (const place of near) line(drawing, this.at(selected), this.at(place));
    const latest = history.slice(-linked);
    latest.slice(1).forEach((place, before) => line(drawing, this.at(latest[before]), this.at(place)));
    drawing.stroke();
    drawing.globalAlpha = 1;
    const grown = this.hasLabels ? 2 : 1;
    for (const place of new Set(history)) this.mark(drawing, place, this.radius + 1.5, this.accent, this.ground);
    for (const place of near) {
      const hue = this.hues[this.groups[place]] ?? this.grey;
      if (this.points.is_cold[place]) this.mark(drawing, place, this.radius + grown, this.ground, hue);
      else this.mark(drawing, place, this.radius + grown, hue, this.ink);
    }
    if (selected >= 0) this.mark(drawing, selected, this.radius + 1.8 * grown, this.accent, this.ink);
    if (this.hovered >= 0) this.mark(drawing, this.hovered, this.radius + 3, null, this.ink);
  }

  mark(drawing, place, radius, filling, outline) {
    disc(drawing, ...this.at(place), radius);
    paint(drawing, filling, outline, 1.6);
  }

  drawLabels(drawing, visible) {
    const { selected, near, history, linked } = this.marked;
    const first = [selected, ...near, ...(near.length && selected >= 0 ? [] : history.slice(-linked).reverse())];
    const places = new Set([...first, ...(visible.length <= LABELLED ? visible : [])]);
    places.delete(-1);
    drawing.font = FONT;
    drawing.textBaseline = "middle";
    const wanted = [...places].map((place) => {
      const [x, y] = this.at(place);
      return { x, y, text: this.points.title[place], radius: this.radius + 4 };
    });
    drawing.lineWidth = 3.5;
    drawing.lineJoin = "round";
    drawing.strokeStyle = this.ground;
    drawing.fillStyle = this.ink;
    for (const { text, x, y } of placed(drawing, wanted, this.camera.width)) {
      drawing.strokeText(text, x, y);
      drawing.fillText(text, x, y);
    }
  }

  drawCross(drawing) {
    const [x, y] = this.camera.middle;
    drawing.beginPath();
    for (const [dx, dy] of [
      [1, 0],
      [-1, 0],
      [0, 1],
      [0, -1],
    ])
      line(drawing, [x + 5 * dx, y + 5 * dy], [x + 12 * dx, y + 12 * dy]);
    paint(drawing, null, this.ink, 1.2);
  }

  at(place) {
    return [this.camera.x(this.points.x[place]), this.camera.y(this.points.y[place])];
  }
}

function disc(drawing, x, y, radius) {
  drawing.beginPath();
  drawing.arc(x, y, radius, 0, 2 * Math.PI);
}

function line(drawing, from, to) {
  drawing.moveTo(...from);
  drawing.lineTo(...to);
}

function paint(drawing, filling, outline, width) {
  if (filling) {
    drawing.fillStyle = filling;
    drawing.fill();
  }
  if (outline) {
    drawing.strokeStyle = outline;
    drawing.lineWidth = width;
    drawing.stroke();
  }
}

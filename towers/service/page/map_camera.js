/** From the map's coordinates to the canvas's pixels and back. */

const CLOSEST = 60;

export class Camera {
  constructor(xs, ys) {
    this.bounds = boundsOf(xs, ys, xs.keys());
    this.width = this.height = 1;
    this.inset = 0;
    this.whole = this.scale = 1;
    this.left = this.top = 0;
  }

  /** How often larger than the whole map in the window. */
  get zoom() {
    return this.scale / this.whole;
  }

  /** The pixel in the middle of what no panel covers. */
  get middle() {
    return [(this.inset + this.width) / 2, this.height / 2];
  }

  x(x) {
    return this.left + x * this.scale;
  }

  y(y) {
    return this.top - y * this.scale;
  }

  /** The canvas has another size, panels cover `inset` pixels at its left; what was in the middle stays there. */
  resize(width, height, inset) {
    const [px, py] = this.middle;
    const [x, y] = [(px - this.left) / this.scale, (this.top - py) / this.scale];
    const zoom = this.zoom;
    Object.assign(this, { width, height, inset });
    this.whole = this.#scaleOf(this.bounds);
    this.#look(x, y, this.whole * zoom);
  }

  /** The whole map. */
  reset() {
    this.show(this.bounds, 1);
  }

  /** These bounds in the middle, at most `closest` times larger than the whole. */
  show({ minX, maxX, minY, maxY }, closest = 5) {
    const scale = Math.min(this.#scaleOf({ minX, maxX, minY, maxY }), this.whole * closest);
    this.#look((minX + maxX) / 2, (minY + maxY) / 2, scale);
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
  }

  /** Larger by `factor` around a pixel. */
  zoomBy(factor, px = this.middle[0], py = this.middle[1]) {
    const scale = Math.min(Math.max(this.scale * factor, this.whole / 2), this.whole * CLOSEST);
    const ratio = scale / this.scale;
    this.left = px - (px - this.left) * ratio;
    this.top = py - (py - this.top) * ratio;
    this.scale = scale;
  }

  #scaleOf({ minX, maxX, minY, maxY }) {
    const margin = Math.min(48, this.width / 24);
    return Math.min(
      (this.width - this.inset - 2 * margin) / (maxX - minX || 1),
      (this.height - 2 * margin) / (maxY - minY || 1),
    );
  }

  #look(x, y, scale) {
    this.scale = scale;
    const [px, py] = this.middle;
    this.left = px - x * scale;
    this.top = py + y * scale;
  }
}

/** The box around some points. */
export function boundsOf(xs, ys, places) {
  const box = { minX: Infinity, maxX: -Infinity, minY: Infinity, maxY: -Infinity };
  for (const place of places) {
    box.minX = Math.min(box.minX, xs[place]);
    box.maxX = Math.max(box.maxX, xs[place]);
    box.minY = Math.min(box.minY, ys[place]);
    box.maxY = Math.max(box.maxY, ys[place]);
  }
  return box.minX <= box.maxX ? box : { minX: -1, maxX: 1, minY: -1, maxY: 1 };
}

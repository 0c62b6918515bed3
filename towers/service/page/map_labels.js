/** Titles beside points, as many as fit without one lying on another; the first come first. */

const HEIGHT = 16;
const GAP = 4;
const LONGEST = 34;

/**
 * @param {CanvasRenderingContext2D} drawing with its font set
 * @param {Array<{x: number, y: number, text: string, radius: number}>} wanted in pixels, most important first
 * @param {number} width of the canvas
 */
export function placed(drawing, wanted, width) {
  const taken = [];
  const found = [];
  for (const { x, y, text, radius } of wanted) {
    const shown = text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
    const length = drawing.measureText(shown).width;
    const right = x + radius + GAP;
    const left = right + length < width ? right : x - radius - GAP - length;
    const box = { left, top: y - HEIGHT / 2, right: left + length, bottom: y + HEIGHT / 2 };
    if (taken.some((other) => overlap(box, other))) continue;
    taken.push(box);
    found.push({ text: shown, x: left, y });
  }
  return found;
}

function overlap(one, other) {
  return (
    one.left < other.right + GAP && other.left < one.right + GAP && one.top < other.bottom && other.top < one.bottom
  );
}

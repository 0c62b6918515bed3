/** Moves a map by mouse, touch and keyboard, and says what is pointed at. */

const STEP = 60;
const CLOSER = 1.4;
const STILL = 5;

/**
 * @param {import("./map_canvas.js").MapCanvas} map
 * @param {(place: number) => void} point at a content, or -1
 * @param {(place: number, isTouch: boolean) => void} choose
 */
export function listen(map, point, choose) {
  const { canvas, camera } = map;
  const fingers = new Map();
  let moved = 0;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const middle = () => map.nearest(...camera.middle, Infinity);
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...fingers.values()];
    return { x: (ax + bx) / 2, y: (ay + by) / 2, apart: Math.hypot(ax - bx, ay - by) || 1 };
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    if (fingers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    const before = fingers.get(event.pointerId);
    if (!before) return point(map.nearest(x, y));
    const was = fingers.size > 1 ? spread() : null;
    fingers.set(event.pointerId, [x, y]);
    moved += Math.hypot(x - before[0], y - before[1]);
    if (was) {
      const now = spread();
      camera.pan(now.x - was.x, now.y - was.y);
      camera.zoomBy(now.apart / was.apart, now.x, now.y);
    } else if (moved > STILL) camera.pan(x - before[0], y - before[1]);
    if (moved > STILL) point(-1);
    map.redraw();
  });
  canvas.addEventListener("pointerup", (event) => {
    const wasOne = fingers.size === 1;
    fingers.delete(event.pointerId);
    if (wasOne && moved <= STILL) choose(map.nearest(...at(event)), event.pointerType !== "mouse");
  });
  canvas.addEventListener("pointercancel", (event) => fingers.delete(event.pointerId));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && point(-1));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      camera.zoomBy(Math.exp(-event.deltaY / (event.deltaMode ? 20 : 400)), ...at(event));
      map.redraw();
    },
    { passive: false },
  );

  canvas.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps) camera.pan(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") camera.zoomBy(CLOSER);
    else if (event.key === "-") camera.zoomBy(1 / CLOSER);
    else if (event.key === "0") camera.reset();
    else if (event.key === "Enter") return choose(middle(), false);
    else return;
    event.preventDefault();
    point(middle());
    map.redraw();
  });
  // A cross in the middle shows keyboard users what Enter opens.
  canvas.addEventListener("focus", () => {
    map.hasCross = canvas.matches(":focus-visible");
    if (map.hasCross) point(middle());
    map.redraw();
  });
  canvas.addEventListener("blur", () => {
    map.hasCross = false;
    point(-1);
  });
}

/** Buttons for the same. */
export function zoom(map, isCloser) {
  map.camera.zoomBy(isCloser ? CLOSER : 1 / CLOSER);
  map.redraw();
}

"""The few lines of JavaScript that a wall needs in the browser: colour lookup, wheel, pointer.

A picture comes as bytes (indices) and is coloured here: a quarter of the bytes on the way, and another theme is another
256 colours instead of another picture.
"""

SHOW_PICTURE = """
// tile: the picture as indices; image: the glyph's source; palette: 256 colours in its tags; report: to the server.
const {picture, x, y, dw, dh} = tile.data;
const indices = picture[0];
const [height, width] = indices.shape ?? [0, 0];
if (!width) return;
let pixels = image.data.image[0];
if (pixels.length !== indices.length || pixels.shape[0] !== height)
  pixels = new pixels.constructor(indices.length, [height, width]);
const colors = new Uint32Array(256);
palette.tags.forEach((color, index) => {
  const number = parseInt(color.slice(1), 16);
  colors[index] = 0xff000000 | ((number & 0xff) << 16) | (number & 0xff00) | (number >> 16);
});
for (let i = 0; i < indices.length; i++) pixels[i] = colors[indices[i]];
Object.assign(image.data, {image: [pixels], x: [x[0]], y: [y[0]], dw: [dw[0]], dh: [dh[0]]});
image.change.emit();  // in place: nothing goes back to the server
const walls = (window.deeptracker_walls ??= {});
const wall = (walls[name] ??= {pictures: 0, recoloured: 0, at: []});
if (cb_obj === palette) {
  wall.recoloured += 1;
} else {
  wall.pictures += 1;
  wall.at.push(performance.now());
  if (wall.at.length > 1000) wall.at.shift();
  Object.assign(wall, {height, width, x: x[0], y: y[0], dw: dw[0], dh: dh[0]});
  report.data = {drawn: [tile.data.number[0]], ratio: [window.devicePixelRatio || 1]};
}
"""
"""Looks the picture up in the palette, shows it, counts it on `window.deeptracker_walls[name]`, acknowledges it."""

RETARGET_WHEEL = """
// Bokeh has one active scroll tool per plot: aim it by the modifiers just before it acts. It sticks at a bound while
// zooming out unless the focus may move, and ignores the smallest interval while zooming in unless it may not.
if (!window.deeptracker_wheels) {
  const tools = (window.deeptracker_wheels = new Map());
  window.addEventListener("wheel", event => {
    const rows = event.ctrlKey || event.shiftKey || event.altKey;
    const inward = (event.deltaY || event.deltaX) < 0;
    for (const [tool, own] of tools) {
      if (tool.document === null) tools.delete(tool);
      else tool.setv({dimensions: own ?? (rows ? "height" : "width"), maintain_focus: inward});
    }
    if (event.shiftKey && !event.deltaY && event.deltaX) {
      const target = event.composedPath()[0];
      if (!(target instanceof Element) || !target.closest?.(".bk-events, .bk-Canvas, canvas")) return;
      // Chrome turns shift and wheel sideways; Bokeh reads only up and down.
      event.stopImmediatePropagation();
      event.preventDefault();
      target.dispatchEvent(new WheelEvent("wheel", {
        deltaY: event.deltaX, deltaMode: event.deltaMode, ctrlKey: true, bubbles: true, cancelable: true,
        composed: true, clientX: event.clientX, clientY: event.clientY,
      }));
    }
  }, {capture: true, passive: false});
}
for (const [tool, own] of wheels) window.deeptracker_wheels.set(tool, own);
"""
"""A plain wheel zooms iterations; with ctrl, shift or alt it zooms rows."""

FOLLOW_POINTER = """
// Row band, crosshair and the readout's place follow the pointer here; its words come from the server.
if (!window.deeptracker_pointer) {
  window.deeptracker_pointer = {};
  window.addEventListener("mousemove", event => {
    Object.assign(window.deeptracker_pointer, {left: event.clientX, top: event.clientY});
  }, {capture: true, passive: true});
}
const state = window.deeptracker_pointer;
const tip = document.getElementById("deeptracker-tip") ?? document.body.appendChild(
  Object.assign(document.createElement("div"), {id: "deeptracker-tip"}));
const hide = () => {
  clearTimeout(state.timer);
  state.wall = null;
  tip.style.display = "none";
  band.visible = cross.visible = false;
};
if (cb_obj.event_name === "mouseleave") return hide();
const {x, y, sx, sy} = cb_obj;
const row = Math.floor(-y);
if (row < 0 || row >= rows.tags[0]) return hide();
band.setv({top: -row, bottom: -row - 1, visible: true});
cross.setv({location: x, visible: true});
if (state.wall !== name || state.row !== row) tip.style.display = "none";
Object.assign(state, {wall: name, row});
window.deeptracker_place?.();
const ask = () => {
  state.asked = performance.now();
  state.timer = null;
  pointer.data = {row: [state.row], x: [state.x]};
};
state.x = x;
if (!state.timer) state.timer = setTimeout(ask, Math.max(0, 30 - (performance.now() - (state.asked ?? 0))));
"""
"""Moves band and crosshair with the pointer, and asks the server for the readout every 30 ms at most."""

SHOW_READOUT = """
const state = (window.deeptracker_pointer ??= {});
const tip = document.getElementById("deeptracker-tip");
if (!tip || state.wall !== name) return;
const html = words.data.html[0];
if (!html) { tip.style.display = "none"; return; }
tip.style.cssText = "position:fixed;z-index:2000;pointer-events:none;max-width:360px;" + words.data.style[0];
tip.innerHTML = html;
window.deeptracker_place = () => {
  const box = tip.getBoundingClientRect();
  const right = state.left + 16 + box.width > window.innerWidth - 4;
  const left = right ? state.left - 16 - box.width : state.left + 16;
  const top = Math.min(Math.max(4, state.top - box.height / 2), window.innerHeight - box.height - 4);
  Object.assign(tip.style, {left: Math.max(4, left) + "px", top: top + "px"});
};
window.deeptracker_place();
"""
"""Shows the words that came from the server beside the pointer."""

RESET_RANGES = """
for (const range of [x_range, y_range]) range.setv({start: range.reset_start, end: range.reset_end});
"""
"""Returns to the whole run and all rows."""

ITERATION_TICKS = """
const size = Math.abs(tick);
if (size >= 1e6) return +(tick / 1e6).toFixed(6) + "M";
return size >= 1e4 ? +(tick / 1e3).toFixed(3) + "k" : "" + tick;
"""
"""Formats iterations as 0, 5000, 20k, 1.2M."""

// A wall by keyboard: its picture takes the focus, and keys move a row and an iteration pointed at, zoom and pick.
// plot, x_range, y_range, band, cross: of the picture; rows: their number in its tags; pointer: asks for the readout;
// keys: tells the server of what is done to a row; name: the wall's.
const view = Bokeh.index.find_one(plot);
const place = view?.el;
if (!place || place.deeptracker_keys) return;
place.deeptracker_keys = true;
place.tabIndex = 0;
place.setAttribute("role", "application");
place.setAttribute("aria-label", "Rows over iterations. Arrow keys point, Enter opens; press ? for all keys.");

if (!window.deeptracker_modality) {
  window.deeptracker_modality = {keys: false};
  window.addEventListener("keydown", () => { window.deeptracker_modality.keys = true; }, true);
  window.addEventListener("pointerdown", () => { window.deeptracker_modality.keys = false; }, true);
}
const pointed = (window.deeptracker_pointer ??= {});
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
let row = null, at = null, number = 0;

const show = () => {
  const tip = document.getElementById("deeptracker-tip") ?? document.body.appendChild(
    Object.assign(document.createElement("div"), {id: "deeptracker-tip"}));
  const {left, top} = place.getBoundingClientRect(), frame = view.frame.bbox;
  const x = (at - x_range.start) / (x_range.end - x_range.start);
  const y = (y_range.end + row + 0.5) / (y_range.end - y_range.start);
  if (pointed.wall !== name || pointed.row !== row) tip.style.display = "none";
  Object.assign(pointed, {wall: name, row, x: at, left: left + frame.left + x * frame.width,
    top: top + frame.top + y * frame.height});
  band.setv({top: -row, bottom: -row - 1, visible: true});
  cross.setv({location: at, visible: true});
  window.deeptracker_place?.();
  pointer.data = {row: [row], x: [at]};
};
const hide = () => {
  const tip = document.getElementById("deeptracker-tip");
  if (tip && pointed.wall === name) tip.style.display = "none";
  pointed.wall = null;
  band.visible = cross.visible = false;
};
const point = (rows_on, iterations_on) => {
  const count = rows.tags[0], [low, high] = x_range.bounds;
  const inside = row != null && row < count && at >= low && at <= high;
  if (!inside) {  // begin where the mouse points, or at the first row and the middle of what is on screen
    row = pointed.wall === name ? pointed.row : clamp(Math.ceil(-y_range.end - 1e-6), 0, count - 1);
    at = pointed.wall === name ? pointed.x : (x_range.start + x_range.end) / 2;
    if (pointed.wall !== name) [rows_on, iterations_on] = [0, 0];
  }
  row = clamp(row + rows_on, 0, count - 1);
  at = clamp(at + iterations_on, low, high);
  const height = y_range.end - y_range.start, width = x_range.end - x_range.start;
  if (-row > y_range.end) y_range.setv({start: -row - height, end: -row});
  else if (-row - 1 < y_range.start) y_range.setv({start: -row - 1, end: -row - 1 + height});
  if (at < x_range.start || at > x_range.end) {
    const start = clamp(at - width / 2, low, high - width);
    x_range.setv({start, end: start + width});
  }
  show();
};
const zoom = (range, factor, about, [low, high]) => {
  const before = range.end - range.start;
  const width = clamp(before * factor, Math.min(range.min_interval ?? 0, before), high - low);
  const start = clamp(about - (about - range.start) / before * width, low, high - width);
  range.setv({start, end: start + width});
};
const slide = (end) => {
  const [low, high] = x_range.bounds, width = x_range.end - x_range.start;
  const start = end ? high - width : low;
  x_range.setv({start, end: start + width});
  at = end ? high - 1 : low;
  point(0, 0);
};
const tell = (act, adding) => {
  if (row == null && act !== "close") point(0, 0);
  keys.data = {act: [act], row: [row ?? -1], adding: [adding], number: [++number]};
};

place.addEventListener("keydown", event => {
  const adding = event.ctrlKey || event.metaKey, shift = event.shiftKey;
  if (event.altKey || !rows.tags[0]) return;
  const step = Math.max(1, (x_range.end - x_range.start) / Math.max(1, view.frame.bbox.width)) * (shift ? 20 : 1);
  const page = Math.max(1, Math.floor(y_range.end - y_range.start) - 1);
  const middle = at != null && at >= x_range.start && at <= x_range.end ? at : (x_range.start + x_range.end) / 2;
  const centre = row == null ? (y_range.start + y_range.end) / 2 : -row - 0.5;
  const rows_all = [y_range.reset_start, y_range.reset_end];
  const acts = {
    ArrowDown: () => shift ? zoom(y_range, 1 / 1.25, centre, rows_all) : point(1, 0),
    ArrowUp: () => shift ? zoom(y_range, 1.25, centre, rows_all) : point(-1, 0),
    PageDown: () => point(page, 0), PageUp: () => point(-page, 0),
    ArrowRight: () => point(0, step), ArrowLeft: () => point(0, -step),
    "+": () => zoom(x_range, 1 / 1.5, middle, x_range.bounds), "=": () => zoom(x_range, 1 / 1.5, middle, x_range.bounds),
    "-": () => zoom(x_range, 1.5, middle, x_range.bounds),
    Home: () => slide(false), End: () => slide(true),
    "0": () => { x_range.setv({start: x_range.reset_start, end: x_range.reset_end});
      y_range.setv({start: y_range.reset_start, end: y_range.reset_end}); },
    Enter: () => tell("pick", adding), " ": () => tell("fold", false),
    Escape: () => { hide(); tell("close", false); },
  };
  // With Ctrl a key is the browser's own, but for Enter, which adds to what is picked.
  if (!acts[event.key] || (adding && event.key !== "Enter")) return;
  event.preventDefault();
  event.stopPropagation();
  place.classList.add("by-keys");
  acts[event.key]();
});
place.addEventListener("focus", () => place.classList.toggle("by-keys", window.deeptracker_modality.keys));
place.addEventListener("pointerdown", () => { place.classList.remove("by-keys"); row = null; });
place.addEventListener("blur", () => { place.classList.remove("by-keys"); if (row != null) hide(); });

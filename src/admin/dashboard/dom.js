// Makes elements. Text is always text: nothing that the edge says is ever taken for markup.

/** `el("p.quiet", { id: "x" }, "text", child)`; attributes that are null or false are left out. */
export function el(kind, attributes = {}, ...children) {
  const [tag, ...classes] = kind.split(".");
  const made = document.createElement(tag);
  made.classList.add(...classes.filter(Boolean));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(made.style, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

const SVG = "http://www.w3.org/2000/svg";

/** A line through `points` (numbers, or null where nothing is known), drawn to the height of the largest. */
export function spark(label, ...series) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 30");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  series.forEach((points, nth) => {
    const most = Math.max(1e-9, ...points.filter((point) => point !== null));
    const step = 100 / Math.max(1, points.length - 1);
    let pen = "M", path = "";
    points.forEach((point, at) => {
      if (point === null) { pen = "M"; return; }
      path += `${pen}${(at * step).toFixed(2)} ${(29 - (point / most) * 28).toFixed(2)}`;
      pen = "L";
    });
    const line = document.createElementNS(SVG, "path");
    line.setAttribute("d", path);
    if (nth > 0) line.setAttribute("class", "second");
    svg.append(line);
  });
  return svg;
}

export const byId = (id) => document.getElementById(id);

/** Puts `children` in the place of what `parent` holds; keeps the focus on the element of the same `data-key`. */
export function replace(parent, children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren(...children);
  if (focused) parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

let pressed = false;
for (const [kind, is] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false]]) {
  document.addEventListener(kind, () => { pressed = is; }, true);
}

/** Whether something is being pressed: what is replaced meanwhile would never be clicked. */
export const isPressed = () => pressed;

/** Opens a dialog; once it closes, the focus is on whatever has the `data-key` it came from, or else on the regions. */
export function open(dialog) {
  const key = document.activeElement?.dataset.key;
  dialog.addEventListener("close", () => {
    if (key) (document.querySelector(`[data-key="${CSS.escape(key)}"]`) ?? byId("regions")).focus();
  }, { once: true });
  dialog.showModal();
}

/** `1 tenant`, `2 tenants`. */
export const tenants = (count) => `${number(count)} tenant${count === 1 ? "" : "s"}`;

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumFractionDigits: digits });

export const percent = (share) => (share === null || share === undefined ? "–" : `${number(share * 100, 1)} %`);

export const clock = (time) => (time ? new Date(time).toLocaleTimeString() : "");

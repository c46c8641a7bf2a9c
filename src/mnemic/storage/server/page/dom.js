// Elements are made from text and attributes alone: what a memory says is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const el = (tag, attributes = {}, ...children) => filled(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

export function field(label, control, wide = false) {
  return el("div", { class: wide ? "field wide" : "field" }, el("label", { for: control.id }, label), control);
}

export const number = (value) => value.toLocaleString("en");

export const count = (value, what) => `${number(value)} ${what}${value === 1 ? "" : "s"}`;

export const score = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());

export const day = (time) => (time === null ? "" : time.replace("T00:00:00Z", "").replace("T", " ").replace(/(\.\d+)?Z$/, ""));

export const link = (view, query) => `#${view}?${new URLSearchParams(query)}`;

// A form whose fields are in the address: what is shown can be bookmarked, and the back button goes back.
export function form(view, query, fields, action) {
  return el("form", {
    onsubmit: (event) => {
      event.preventDefault();
      const given = [...new FormData(event.target)].filter(([, value]) => value !== "");
      const next = link(view, given);
      if (next === location.hash) dispatchEvent(new HashChangeEvent("hashchange"));
      else location.hash = next;
    },
  }, fields, el("button", {}, action));
}

export function input(id, label, query, attributes = {}) {
  return field(label, el("input", { id, name: id, value: query.get(id) ?? "", ...attributes }), attributes.wide);
}

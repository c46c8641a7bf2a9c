import { ask } from "./api.js";
import { count, el, form, input, link, score, svg } from "./dom.js";

const DRAWN = 16;
const MEANING = { fact: "fact", cooccur: "in one sentence", synonym: "means much the same" };

const short = (text) => (text.length > 22 ? `${text.slice(0, 21)}…` : text);

function picture(name, neighbours) {
  const lines = [], nodes = [];
  neighbours.slice(0, DRAWN).forEach((near, index, all) => {
    const angle = (2 * Math.PI * index) / all.length - Math.PI / 2;
    const [x, y] = [400 + 270 * Math.cos(angle), 260 + 200 * Math.sin(angle)];
    lines.push(svg("line", { x1: 400, y1: 260, x2: x, y2: y, class: near.kind }));
    if (near.label) {
      const middle = { x: (400 + 1.2 * x) / 2.2, y: (260 + 1.2 * y) / 2.2, "text-anchor": "middle", class: "label" };
      lines.push(svg("text", middle, short(near.label)));
    }
    nodes.push(svg("a", { href: link("graph", { entity: near.name }) },
      svg("title", {}, near.name), svg("circle", { cx: x, cy: y, r: 9 }),
      svg("text", { x, y: y < 260 ? y - 16 : y + 28, "text-anchor": "middle" }, short(near.name))));
  });
  const centre = svg("g", { class: "centre" }, svg("circle", { cx: 400, cy: 260, r: 14 }),
    svg("text", { x: 400, y: 296, "text-anchor": "middle" }, short(name)));
  return svg("svg", { class: "graph", viewBox: "0 0 800 520", role: "group", "aria-label": `What stands around ${name}` }, lines, nodes, centre);
}

function row(near, name) {
  const read = near.kind !== "fact" ? MEANING[near.kind] : near.outward ? `${name} ${near.label} …` : `… ${near.label} ${name}`;
  return el("tr", {},
    el("td", {}, el("a", { href: link("graph", { entity: near.name }) }, near.name)),
    el("td", {}, read), el("td", { class: "number" }, score(near.weight)));
}

export async function graph(view, query) {
  view.append(form("graph", query, [input("entity", "A person or a thing", query, { required: true, maxlength: 1000 })], "Show"));
  const entity = query.get("entity");
  if (!entity) {
    view.append(el("p", { class: "empty" }, "Name something; what stands around it in the memory is drawn."));
    return;
  }
  const around = await ask("/v1/graph", { query: { entity, limit: 100 } });
  if (!around.names.length) {
    view.append(el("p", { class: "empty" }, "Nothing in the memory has that name."));
    return;
  }
  const name = around.names[0];
  const heads = [["Name", null], ["How", null], ["Weight", "number"]];
  view.append(
    el("p", { class: "note", role: "status" }, `${name}: in ${count(around.passages, "passage")}, ${count(around.neighbours.length, "neighbour")}; `,
      el("a", { href: link("facts", { subject: name }) }, "its facts over time")),
    picture(name, around.neighbours),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Neighbours" },
      el("table", {}, el("thead", {}, el("tr", {}, heads.map(([text, kind]) => el("th", { scope: "col", class: kind }, text)))),
        el("tbody", {}, around.neighbours.map((near) => row(near, name))))));
}

import { ask } from "./api.js";
import { count, day, el, field, form, input, link, score } from "./dom.js";

const METHODS = ["auto", "hybrid", "bm25", "dense", "best-turn", "rule-graph", "hipporag", "hipporag2", "memgas"];

function asked(query) {
  const chosen = query.get("method") ?? "auto";
  const methods = METHODS.map((name) => el("option", { selected: name === chosen }, name));
  return form("search", query, [
    input("q", "Question", query, { wide: true, required: true, maxlength: 20000, autocomplete: "off" }),
    field("Method", el("select", { id: "method", name: "method" }, methods)),
    input("session", "Session", query),
    input("actor", "Actor", query),
    input("at", "Said up to", query, { placeholder: "2026-05-31" }),
    input("known_at", "Known by", query, { placeholder: "2026-05-31" }),
  ], "Search");
}

function why(parts) {
  const most = Math.max(...Object.values(parts).map(Math.abs), 1e-9);
  return el("div", { class: "parts" }, Object.entries(parts).map(([name, value]) => {
    const bar = el("div", { class: value < 0 ? "bar below" : "bar" });
    bar.style.width = `${(100 * Math.abs(value)) / most}%`;
    return [el("span", {}, name), el("div", {}, bar), el("span", {}, score(value))];
  }));
}

function hit(found, rank) {
  const from = found.provenance;
  const told = [from.title, from.actor, from.session && `session ${from.session}`, from.source, day(from.time)];
  return el("li", { class: "card" },
    el("p", {}, found.text),
    el("div", { class: "from" }, `${rank}. ${told.filter(Boolean).join(" · ") || "no source"} · score ${score(found.score)}`),
    el("details", {}, el("summary", {}, "Why this result"), why(found.parts),
      el("ol", { class: "path" }, (found.path ?? []).map((step) => el("li", {}, step))),
      el("p", { class: "from" }, `event ${from.event}, ${from.level}`)));
}

export async function search(view, query) {
  view.append(asked(query));
  if (!query.get("q")) {
    view.append(el("p", { class: "empty" }, "Ask what was said or read; the answer is the passages that fit best."));
    return;
  }
  const filters = {};
  for (const name of ["session", "actor"]) if (query.get(name)) filters[name] = query.get(name);
  const body = { query: query.get("q"), method: query.get("method") ?? "auto", explain: true, k: 20, filters };
  for (const name of ["at", "known_at"]) if (query.get(name)) body[name] = query.get(name);
  const found = await ask("/v1/search", { body });
  if (!found.hits.length) {
    view.append(el("p", { class: "empty" }, "Nothing that was remembered fits. Other words, fewer filters or another method may find it."));
    return;
  }
  view.append(
    el("p", { class: "note", role: "status" }, `${count(found.hits.length, "passage")} by ${found.method} in ${(1000 * found.seconds).toFixed(1)} ms`),
    el("ol", { class: "hits" }, found.hits.map((each, index) => hit(each, index + 1))),
    el("p", { class: "note" }, el("a", { href: link("facts", {}) }, "Facts that the memory claims")));
}

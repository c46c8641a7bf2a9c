import { ask } from "./api.js";
import { count, day, el, form, input, link, number } from "./dom.js";

const ms = (time) => (time === null ? null : Date.parse(time));

// The years that the facts span, so that every bar has the same scale.
function scale(facts) {
  const ends = facts.flatMap((fact) => [ms(fact.valid_from), ms(fact.valid_to)]).filter((time) => time !== null);
  const [first, last] = [Math.min(...ends, Date.now()), Math.max(...ends, Date.now())];
  const margin = Math.max((last - first) * 0.05, 1);
  return [first - margin, last + margin];
}

function bar(fact, [first, last]) {
  const place = (time, open) => (time === null ? open : (100 * (time - first)) / (last - first));
  const [begin, end] = [place(ms(fact.valid_from), 0), place(ms(fact.valid_to), 100)];
  const span = el("div", { class: "span" });
  span.style.left = `${begin}%`;
  span.style.width = `${Math.max(end - begin, 0)}%`;
  return el("div", { class: "track", "aria-hidden": "true" }, span);
}

function known(fact) {
  if (fact.superseded_by && fact.retracted_at) return `${day(fact.recorded_at)} to ${day(fact.retracted_at)}, superseded`;
  if (fact.retracted_at) return `${day(fact.recorded_at)} to ${day(fact.retracted_at)}, retracted`;
  return `since ${day(fact.recorded_at)}`;
}

function row(fact, span) {
  const holds = `${day(fact.valid_from) || "always"} to ${day(fact.valid_to) || "now"}`;
  return el("tr", { class: fact.retracted_at ? "ended" : null },
    el("td", {}, el("a", { href: link("graph", { entity: fact.subject }) }, fact.subject), ` ${fact.predicate} ${fact.object}`),
    el("td", { class: "time" }, holds, bar(fact, span)),
    el("td", { class: "time" }, known(fact)),
    el("td", {}, `${fact.extractor}, ${count(fact.events.length, "event")}`));
}

export async function facts(view, query) {
  view.append(form("facts", query, [
    input("subject", "About", query, { placeholder: "a person or a thing" }),
    input("predicate", "Predicate", query, { placeholder: "lives in" }),
  ], "Show timeline"));
  const asked = { subject: query.get("subject"), predicate: query.get("predicate"), limit: 200 };
  const found = await ask("/v1/facts/timeline", { query: asked });
  if (!found.facts.length) {
    view.append(el("p", { class: "empty" }, query.get("subject") ? "The memory claims nothing about that." : "No facts yet: they come with events, or from a language model's jobs."));
    return;
  }
  const span = scale(found.facts);
  const heads = ["Fact", "Holds", "Known", "From"].map((name) => el("th", { scope: "col" }, name));
  view.append(
    el("p", { class: "note", role: "status" }, `${number(found.facts.length)} of ${number(found.total)} facts ever claimed; what is struck out is claimed no more`),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Timeline" },
      el("table", {}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, found.facts.map((fact) => row(fact, span))))));
}

import { ask } from "./api.js";
import { day, el, number } from "./dom.js";

const figure = (name, value) => el("li", {}, el("strong", {}, value), name);

function row(job) {
  const cost = job.cost === null ? "–" : job.cost.toFixed(4);
  return el("tr", {}, el("td", {}, job.state), el("td", {}, job.kind), el("td", { class: "number" }, number(job.attempts)),
    el("td", { class: "number" }, number(job.tokens_in)), el("td", { class: "number" }, number(job.tokens_out)),
    el("td", { class: "number" }, cost), el("td", { class: "time" }, day(job.updated_at)), el("td", {}, job.error));
}

export async function jobs(view) {
  const [held, found] = await Promise.all([ask("/v1/stats"), ask("/v1/jobs", { query: { limit: 200 } })]);
  const figures = ["events", "forgotten", "passages", "entities", "facts"].map((name) => figure(name, number(held[name])));
  view.append(el("h2", {}, "What the memory holds"),
    el("ul", { class: "figures" }, figures, figure("MB on the disk, all tenants", (held.bytes / 1e6).toFixed(1)), figure("encoder", held.encoder ?? "none yet")));
  view.append(el("h2", {}, "Work for a language model"));
  if (!found.jobs.length) {
    view.append(el("p", { class: "empty" }, "None. The memory works without a language model; jobs come with events that are added with extract: llm."));
    return;
  }
  const sum = (name) => found.jobs.reduce((total, job) => total + (job[name] ?? 0), 0);
  const priced = found.jobs.some((job) => job.cost !== null);
  view.append(
    el("ul", { class: "figures" }, Object.entries(found.states).map(([state, count]) => figure(state, number(count))),
      figure("tokens in, latest 200", number(sum("tokens_in"))), figure("tokens out, latest 200", number(sum("tokens_out"))),
      figure("cost, latest 200", priced ? sum("cost").toFixed(4) : "no price")),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Jobs" },
      el("table", {}, el("thead", {}, el("tr", {}, ["State", "Kind", "Tries", "Tokens in", "Tokens out", "Cost", "Changed", "Error"].map(
        (name, index) => el("th", { scope: "col", class: index > 1 && index < 6 ? "number" : null }, name)))),
      el("tbody", {}, found.jobs.map(row)))));
}

import { ask, keep, key, leave } from "./api.js";
import { el, number } from "./dom.js";
import { facts } from "./facts.js";
import { graph } from "./graph.js";
import { jobs } from "./jobs.js";
import { search } from "./search.js";

const VIEWS = { search, facts, graph, jobs };
const main = document.getElementById("view");
const keyForm = document.getElementById("key-form");
const typed = document.getElementById("typed");
const whose = document.getElementById("whose");
let turn = 0; // of the views asked for; one that comes late is not shown

function failed(view, error) {
  if (error.status === 401) {
    keyForm.hidden = typed.hidden = false;
    view.append(el("p", { class: key() ? "error" : "empty", role: "alert" }, key() ? "This key opens nothing. Type another." : "Type a key to open a memory; `mnemic keys add NAME` makes one."));
    document.getElementById("key").focus();
    return;
  }
  view.append(el("p", { class: "error", role: "alert" }, error.message));
}

async function show() {
  const [name, query] = location.hash.slice(1).split("?", 2);
  const chosen = name in VIEWS ? name : "search";
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#${chosen}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const mine = ++turn;
  const view = el("div");
  main.setAttribute("aria-busy", "true");
  try {
    await VIEWS[chosen](view, new URLSearchParams(query));
  } catch (error) {
    failed(view, error);
  }
  if (mine !== turn) return;
  main.removeAttribute("aria-busy");
  main.replaceChildren(view);
  const first = view.querySelector("input");
  if (first && !first.value) first.focus();
}

async function open() {
  whose.textContent = "";
  try {
    const held = await ask("/v1/stats");
    whose.textContent = `the memory of ${held.tenant}: ${number(held.events)} events, ${number(held.facts)} facts`;
    keyForm.hidden = !key();
    typed.hidden = key() !== null;
    document.getElementById("leave").hidden = !key();
  } catch (error) {
    const view = el("div");
    failed(view, error);
    main.replaceChildren(view);
    return;
  }
  await show();
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("key");
  if (field.value.trim()) keep(field.value.trim());
  field.value = "";
  open();
});
document.getElementById("leave").addEventListener("click", () => {
  leave();
  document.getElementById("leave").hidden = true;
  open();
});
addEventListener("hashchange", show);
open();

// The Tasks page: the pane follows the list, several tasks are selected, dialogs are opened.
"use strict";

(() => {
const main = document.getElementById("main");
const LOOK_AFTER = 120; // milliseconds: who runs through the list with J fetches one task, not all
let looking;

function isNarrow() {
  return matchMedia("(max-width: 1000px)").matches;
}

function checked() {
  return [...document.querySelectorAll("#tasks-list input[name=id]:checked")];
}

function showSelection() {
  const bar = document.getElementById("bulk-bar");
  if (!bar) return;
  const boxes = checked();
  bar.hidden = boxes.length === 0;
  bar.querySelector("strong").textContent =
    boxes.length === 1 ? bar.dataset.one : bar.dataset.many.replace("{n}", boxes.length);
  for (const row of document.querySelectorAll("#tasks-list .row")) {
    row.classList.toggle("is-checked", row.querySelector("input[name=id]:checked") !== null);
  }
}

function clearSelection() {
  for (const box of checked()) box.checked = false;
  document.getElementById("tasks-list").classList.remove("is-selecting");
  showSelection();
}

// From the first move on the pane is another task's: no key may act on the one that is still there.
function point(row) {
  clearTimeout(looking);
  document.getElementById("task").setAttribute("aria-busy", "true");
  for (const other of document.querySelectorAll("#tasks-list [aria-current=true].row")) {
    other.removeAttribute("aria-current");
  }
  row.setAttribute("aria-current", "true");
  history.replaceState(null, "", row.dataset.address);
}

function look(row) {
  return htmx.ajax("GET", row.dataset.pane, { target: "#task", swap: "innerHTML" });
}

main.addEventListener("drumbeat:move", (event) => {
  const row = event.target;
  if (!row.dataset.pane || main.classList.contains("is-open")
    && isNarrow()) return;
  point(row);
  looking = setTimeout(() => look(row), LOOK_AFTER);
});

main.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-open]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    const row = link.closest("[data-row]");
    event.preventDefault();
    if (document.getElementById("tasks-list").classList.contains("is-selecting")) {
      row.querySelector("input").click();
      return;
    }
    for (const other of document.querySelectorAll("[data-at]")) other.removeAttribute("data-at");
    row.setAttribute("data-at", "");
    // On a narrow screen the pane is a page of its own: the browser's Back closes it.
    if (isNarrow() && !main.classList.contains("is-open")) history.pushState(null, "");
    main.classList.add("is-open");
    point(row);
    look(row);
  }
  const back = event.target.closest("a[data-back]");
  if (back) {
    event.preventDefault();
    main.classList.remove("is-open");
    history.replaceState(null, "", back.getAttribute("href"));
  }
  if (event.target.closest("[data-clear-selection]")) clearSelection();
  if (event.target.closest("[data-select-mode]")) {
    const list = document.getElementById("tasks-list");
    if (list.classList.toggle("is-selecting") === false) clearSelection();
  }
});

addEventListener("popstate", () => main.classList.remove("is-open"));

main.addEventListener("change", (event) => {
  if (event.target.matches("input[name=id]")) showSelection();
});

// Enter in the pane of an email opens the compose window, as on its row.
document.addEventListener("htmx:after:swap", () => {
  showSelection();
  const fetched = document.getElementById("dialog");
  if (fetched && fetched.firstElementChild && !fetched.open) fetched.showModal();
  const list = document.getElementById("tasks-list");
  const count = document.querySelector(".nav a[aria-current] .count");
  if (list && count && !list.hasAttribute("data-partial")) {
    count.textContent = list.dataset.openTasks === "0" ? "" : list.dataset.openTasks;
  }
});

// A dialog that was fetched is fetched anew the next time.
main.addEventListener("close", (event) => {
  if (event.target.id === "dialog") event.target.replaceChildren();
}, true);

// Where no answer comes, or none that can be shown, what was typed stays where it is.
function tellOffline() {
  document.getElementById("task").removeAttribute("aria-busy");
  const toast = document.getElementById("offline").content.cloneNode(true);
  document.getElementById("toasts").replaceChildren(toast);
}

document.addEventListener("htmx:error", tellOffline);
document.addEventListener("htmx:before:swap", (event) => {
  const status = event.detail.ctx?.response?.status ?? 200;
  if (status < 500 && status !== 413) return;
  event.preventDefault();
  tellOffline();
});

// What was asked closes its dialog; what it could not do stands in the toast.
document.addEventListener("htmx:before:swap", (event) => {
  if (event.detail.ctx?.target !== main) return;
  for (const dialog of document.querySelectorAll("#main dialog[open]")) dialog.close();
});

// The pane is there again, and keys mean the task that it shows.
document.addEventListener("htmx:after:swap", () => {
  const pane = document.getElementById("task");
  const shown = document.querySelector("#tasks-list .row[aria-current=true]");
  const form = pane.querySelector(".pane-form");
  if (shown && form && !form.getAttribute("action").includes(shown.id.slice(4))) return;
  pane.removeAttribute("aria-busy");
  document.dispatchEvent(new CustomEvent("drumbeat:ready"));
});

// What became of an email was told: to tell it again would be wrong.
const here = new URL(location.href);
if (here.searchParams.has("did")) {
  here.searchParams.delete("did");
  history.replaceState(null, "", here);
}

// Browsers fill boxes in again when one comes back: a selection that nobody sees would be acted on.
clearSelection();

// A list that stays open while tasks come and go says so; it is not swapped under the hand.
document.addEventListener("drumbeat:fresh", () => {
  const list = document.getElementById("tasks-list");
  const bar = document.getElementById("tasks-changed");
  if (!bar || list.hasAttribute("data-partial")) return;
  const count = document.querySelector("#nav a[href='/tasks'] .count");
  bar.hidden = (count?.textContent || "0") === list.dataset.openTasks;
});
})();

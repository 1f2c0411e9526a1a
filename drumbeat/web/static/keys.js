// Keys, the same on every page: what a page's elements say in `data-key` and `data-go` is done.
// Single keys rest while a field has the focus, and where the settings turn them off.
"use strict";

const PLACES = { t: "/tasks", e: "/emails", p: "/people", c: "/campaigns", f: "/feed" };
let wasG = false;

function isTyping(target) {
  return target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
}

function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((row) => row.offsetParent !== null);
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.findIndex((row) => row.hasAttribute("data-at"));
  const next = all[Math.max(0, Math.min(all.length - 1, at + step))];
  all.forEach((row) => row.removeAttribute("data-at"));
  next.setAttribute("data-at", "");
  next.scrollIntoView({ block: "nearest" });
  const link = next.querySelector("a");
  if (link) link.focus({ preventScroll: true });
}

function press(key) {
  const scope = document.querySelector("dialog[open]") || document;
  const wanted = [...scope.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)].find(
    (element) => element.offsetParent !== null && !element.disabled);
  if (!wanted) return false;
  if (wanted.matches("input[type=radio], input[type=checkbox]")) {
    wanted.checked = wanted.type === "radio" ? true : !wanted.checked;
    wanted.dispatchEvent(new Event("change", { bubbles: true }));
  } else if (wanted.matches("input, textarea, select")) {
    wanted.focus();
  } else {
    wanted.click();
  }
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.metaKey) return;
  const name = (event.ctrlKey ? "ctrl+" : "") + (event.shiftKey && event.key.length > 1 ? "shift+" : "") + event.key.toLowerCase();
  if (event.ctrlKey) {
    if (press(name)) event.preventDefault();
    return;
  }
  if (event.key === "Escape") {
    const open = document.querySelector("dialog[open]");
    if (open) return;
    if (isTyping(event.target)) event.target.blur();
    else press("escape");
    return;
  }
  if (isTyping(event.target) || document.body.dataset.singleKeys === "off") return;
  if (wasG) {
    wasG = false;
    const place = PLACES[name];
    if (place) {
      event.preventDefault();
      location.assign(place);
    }
    return;
  }
  if (name === "g") { wasG = true; return; }
  if (name === "/") {
    event.preventDefault();
    document.getElementById("search").focus();
    return;
  }
  if (name === "?") { press("?") || document.querySelector("[data-keys-sheet]").click(); return; }
  if (name === "j" || name === "k") { event.preventDefault(); move(name === "j" ? 1 : -1); return; }
  if (name === "enter" && !event.target.closest("a, button, summary, input")) {
    const at = document.querySelector("[data-row][data-at] a");
    if (at) at.click();
    return;
  }
  if (name === "x") {
    const box = document.querySelector("[data-row][data-at] input[type=checkbox]");
    if (box) { box.click(); event.preventDefault(); return; }
  }
  if (press(name)) event.preventDefault();
});

// The sheet of all keys: what stands on the page, collected.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-keys-sheet]")) return;
  let sheet = document.getElementById("keys-sheet");
  if (!sheet) {
    sheet = document.createElement("dialog");
    sheet.id = "keys-sheet";
    sheet.className = "dialog";
    const title = document.createElement("h2");
    title.textContent = event.target.closest("[data-keys-sheet]").textContent.replace("?", "").trim();
    const hints = document.querySelector(".hints").cloneNode(true);
    hints.className = "keys-list";
    const form = document.createElement("form");
    form.method = "dialog";
    const close = document.createElement("button");
    close.className = "btn";
    close.textContent = "Esc";
    form.append(close);
    sheet.append(title, hints, form);
    document.body.append(sheet);
  }
  sheet.showModal();
});

// Keys, the same on every page: what a page's elements say in `data-key` is done. Single keys rest
// while a field has the focus, and where the settings turn them off. Dialogs and toasts, too.
"use strict";

(() => {
const PLACES = { t: "/tasks", e: "/emails", p: "/people", c: "/campaigns", f: "/feed" };
const TOAST_STAYS = 10_000; // milliseconds, not counted while it is looked at
let wasG = false;
let waiting = null; // a key for a part of the page that is still on its way

// The field of a dialog that has just been closed keeps the focus for a moment: nobody types there.
function isTyping(target) {
  const field = target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
  return field !== null && field.checkVisibility();
}

// Shown, or within a menu that one click would show.
function isThere(element) {
  if (element.disabled || element.getAttribute("aria-disabled") === "true") return false;
  if (element.checkVisibility()) return true;
  const menu = element.closest("details:not([open])");
  return menu !== null && menu.checkVisibility();
}

function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((row) => row.checkVisibility());
}

function at() {
  return document.querySelector("[data-row][data-at]") || document.querySelector("[data-row][aria-current]");
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const here = all.indexOf(at());
  const next = all[Math.max(0, Math.min(all.length - 1, here + step))];
  all.forEach((row) => row.removeAttribute("data-at"));
  next.setAttribute("data-at", "");
  next.scrollIntoView({ block: "nearest" });
  const link = next.querySelector("a");
  if (link) link.focus({ preventScroll: true });
  next.dispatchEvent(new CustomEvent("drumbeat:move", { bubbles: true }));
}

function press(key) {
  const scope = document.querySelector("dialog[open]") || document;
  const wanted = [...scope.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)].find(isThere);
  if (!wanted) return false;
  waiting = null;
  if (wanted.closest("[aria-busy=true]")) {
    // What is there belongs to what was there before: the key is for what comes.
    waiting = key;
    return true;
  }
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
  const dialog = document.querySelector("dialog[open]");
  if (event.key === "Escape") {
    if (dialog) return;
    if (isTyping(event.target)) event.target.blur();
    else press("escape");
    return;
  }
  if (isTyping(event.target) || document.body.dataset.singleKeys === "off") return;
  if (dialog) {
    if (name.length === 1 && press(name)) event.preventDefault();
    return;
  }
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
    const link = at()?.querySelector("a");
    if (link) link.click();
    return;
  }
  if (name === "x") {
    const box = at()?.querySelector("input[type=checkbox]:not(:disabled)");
    if (box) { box.click(); event.preventDefault(); return; }
  }
  if (press(name)) event.preventDefault();
});

// What was on its way is there.
document.addEventListener("drumbeat:ready", () => {
  if (waiting !== null) press(waiting);
  waiting = null;
});

// `data-dialog` opens the dialog of that id; without a script, the link leads to a page instead.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    opener.closest("details")?.removeAttribute("open");
    dialog.showModal();
    return;
  }
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  if (event.target.closest("[data-close-toast]")) event.target.closest("[data-toast]").remove();
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});

// Toasts go by themselves, but for those that tell of trouble.
function watch(toast) {
  let timer;
  const start = () => { timer = setTimeout(() => toast.remove(), TOAST_STAYS); };
  const stop = () => clearTimeout(timer);
  toast.addEventListener("mouseenter", stop);
  toast.addEventListener("focusin", stop);
  toast.addEventListener("mouseleave", start);
  toast.addEventListener("focusout", start);
  start();
}

function watchToasts() {
  for (const toast of document.querySelectorAll("[data-toast]:not([data-stays]):not([data-watched])")) {
    toast.setAttribute("data-watched", "");
    watch(toast);
  }
}

const toasts = document.getElementById("toasts");
if (toasts) new MutationObserver(watchToasts).observe(toasts, { childList: true });
watchToasts();

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
    const list = document.querySelector(".hints").cloneNode(true);
    list.className = "keys-list";
    for (const link of document.querySelectorAll(".nav a[aria-keyshortcuts]")) {
      const line = document.createElement("span");
      for (const key of link.getAttribute("aria-keyshortcuts").split(" ")) {
        const kbd = document.createElement("kbd");
        kbd.textContent = key;
        line.append(kbd);
      }
      line.append(` ${link.querySelector("span").textContent}`);
      list.append(line);
    }
    const search = document.querySelector('label[for="search"]');
    if (search) {
      const line = document.createElement("span");
      const kbd = document.createElement("kbd");
      kbd.textContent = "/";
      line.append(kbd, ` ${search.textContent}`);
      list.append(line);
    }
    const form = document.createElement("form");
    form.method = "dialog";
    const close = document.createElement("button");
    close.className = "btn";
    close.textContent = "Esc";
    form.append(close);
    sheet.append(title, list, form);
    document.body.append(sheet);
  }
  sheet.showModal();
});
})();

// The compose window: the letter is edited in its frame, saved as one types, and sent as it is shown.
"use strict";

(() => {
const form = document.getElementById("compose");
const frame = document.getElementById("letter-frame");
if (!form || !frame) return;

const SAVE_AFTER = 900; // milliseconds without a key
const words = form.dataset;
const address = `/tasks/${words.task}`;
const saved = document.getElementById("saved");
const fill = document.getElementById("fill");
const send = document.getElementById("send");
const scheduleButton = document.getElementById("schedule-button");
let letter;
let timer;
let running = Promise.resolve();
let isChanged = false;
let isToKeep = false;
let isLeaving = false;
let hasFailed = false;

// The schedule stands on the page where no script runs; here it is a dialog.
const section = document.getElementById("schedule");
const schedule = document.createElement("dialog");
schedule.id = "schedule";
schedule.className = "dialog";
schedule.setAttribute("aria-labelledby", "schedule-title");
schedule.append(...section.childNodes);
section.replaceWith(schedule);

// ---- the letter ----

function prompts() {
  return [...letter.querySelectorAll("mark.drumbeat-prompt")];
}

function html() {
  const copy = letter.cloneNode(true);
  for (const mark of copy.querySelectorAll("mark.drumbeat-prompt")) {
    mark.replaceWith(`{{! ${mark.dataset.prompt} }}`);
  }
  return copy.innerHTML;
}

function left() {
  const inSubject = (form.elements.subject.value.match(/\{\{!.*?\}\}/g) || []).length;
  return prompts().length + inSubject;
}

function showPrompts() {
  const n = left();
  const count = document.getElementById("prompts");
  count.hidden = n === 0;
  count.firstElementChild.textContent = n === 1 ? words.promptsOne : words.prompts.replace("{n}", n);
  fill.textContent = n === 0 ? "" : n === 1 ? words.fillOne : words.fill.replace("{n}", n);
  for (const button of [send, scheduleButton, schedule.querySelector(".primary")]) {
    if (n) button.setAttribute("aria-disabled", "true");
    else button.removeAttribute("aria-disabled");
  }
}

function fit() {
  const needed = Math.ceil(frame.contentDocument.body.getBoundingClientRect().height);
  const wrap = frame.closest(".editor-wrap");
  // On a wide screen the paper fills what is left of the window.
  const room = matchMedia("(min-width: 1001px)").matches ? wrap.clientHeight - frame.offsetTop + wrap.offsetTop : 0;
  frame.height = Math.max(needed, room);
}

function choose(mark) {
  for (const other of prompts()) other.classList.toggle("is-at", other === mark);
  const range = frame.contentDocument.createRange();
  range.selectNodeContents(mark);
  const selection = frame.contentDocument.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  frame.contentWindow.focus();
  letter.focus({ preventScroll: true });
  selection.removeAllRanges();
  selection.addRange(range);
  const box = mark.getBoundingClientRect();
  const wrap = frame.closest(".editor-wrap");
  const top = frame.offsetTop + box.top;
  if (top < wrap.scrollTop + 40 || top > wrap.scrollTop + wrap.clientHeight - 40) {
    wrap.scrollTop = top - wrap.clientHeight / 2;
  }
}

function promptAt() {
  const selection = frame.contentDocument.getSelection();
  if (!selection.rangeCount) return null;
  const range = selection.getRangeAt(0);
  return prompts().find((mark) => range.intersectsNode(mark)
    && (mark.contains(range.startContainer) || mark.contains(range.endContainer)
      || range.startContainer === mark || range.toString().includes(mark.textContent))) || null;
}

// A prompt goes as a whole: what is typed into it takes its place, without its looks.
function replacePrompt(event) {
  const mark = promptAt();
  if (!mark || event.isComposing) return;
  const range = frame.contentDocument.getSelection().getRangeAt(0);
  if (!mark.contains(range.startContainer) || !mark.contains(range.endContainer)) return;
  const isTyped = event.inputType.startsWith("insert") && event.inputType !== "insertParagraph";
  if (!isTyped && !event.inputType.startsWith("delete")) return;
  event.preventDefault();
  const given = event.data ?? event.dataTransfer?.getData("text/plain") ?? "";
  const text = frame.contentDocument.createTextNode(isTyped ? given : "");
  mark.replaceWith(text);
  const caret = frame.contentDocument.createRange();
  caret.setStart(text, text.length);
  caret.collapse(true);
  const selection = frame.contentDocument.getSelection();
  selection.removeAllRanges();
  selection.addRange(caret);
  changed();
}

function jump(event) {
  const all = prompts();
  if (!all.length) return;
  const here = promptAt();
  const at = here ? all.indexOf(here) : -1;
  const next = event.shiftKey ? (here ? at - 1 : all.length - 1) : at + 1;
  if (here && (next < 0 || next >= all.length)) {
    if (all.length === 1) return; // the last one: Tab leaves the editor
  }
  event.preventDefault();
  choose(all[(next + all.length) % all.length]);
}

function run(command, value) {
  letter.focus();
  frame.contentDocument.execCommand(command, false, value);
  changed();
}

function ready() {
  const inside = frame.contentDocument;
  letter = inside && inside.getElementById("letter");
  if (!letter || letter.isContentEditable) return;
  letter.contentEditable = "true";
  letter.setAttribute("role", "textbox");
  letter.setAttribute("aria-multiline", "true");
  letter.setAttribute("aria-label", frame.dataset.label);
  letter.tabIndex = 0;
  inside.execCommand("defaultParagraphSeparator", false, "p");
  inside.addEventListener("click", (event) => {
    if (event.target.closest("a")) event.preventDefault();
    const mark = event.target.closest("mark.drumbeat-prompt");
    if (mark) choose(mark);
  });
  takesDrops(inside);
  letter.addEventListener("beforeinput", replacePrompt);
  letter.addEventListener("input", () => {
    // What a composition, or a browser's own undo, has put into a prompt is the rep's text.
    for (const mark of prompts()) {
      if (mark.textContent !== mark.dataset.prompt) mark.replaceWith(...mark.childNodes);
    }
    changed();
  });
  inside.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && !event.ctrlKey && !event.altKey) { jump(event); return; }
    if (event.key === "Escape") { event.preventDefault(); frame.blur(); leave(); return; }
    if (!event.ctrlKey && !event.metaKey) return;
    if (event.key === "Enter") {
      event.preventDefault();
      if (event.shiftKey) openSchedule();
      else if (!left()) form.requestSubmit(send);
      else showPrompts();
    } else if (event.key.toLowerCase() === "k") {
      event.preventDefault();
      openLink();
    }
  });
  new ResizeObserver(fit).observe(inside.body);
  fit();
  showPrompts();
}

frame.addEventListener("load", ready);
if (frame.contentDocument?.readyState === "complete") ready();

// ---- saving ----

function changed() {
  isChanged = true;
  isToKeep = true;
  showPrompts();
  fit();
  clearTimeout(timer);
  timer = setTimeout(save, SAVE_AFTER);
}

function typed() {
  const data = new URLSearchParams();
  for (const name of ["subject", "cc", "draft"]) data.set(name, form.elements[name].value);
  data.set("body", html());
  return data;
}

// One after the other: a slow answer must not bring an older text back.
function save() {
  clearTimeout(timer);
  running = running.then(saveNow, saveNow);
  return running;
}

async function saveNow() {
  if (!isChanged) return true;
  isChanged = false;
  hasFailed = true;
  saved.textContent = words.saving;
  try {
    const answer = await fetch(`${address}/draft`, { method: "POST", body: typed() });
    const told = await answer.json();
    if (!answer.ok) {
      isChanged = true;
      saved.textContent = `${words.failed}: ${told.error}`;
      return false;
    }
    hasFailed = false;
    form.elements.draft.value = told.draft;
    saved.textContent = words.saved.replace("{at}", told.at);
    document.getElementById("gmail").href = told.gmail;
    document.getElementById("outlook").href = told.outlook;
    return told.as_typed ? true : "other";
  } catch {
    isChanged = true;
    saved.textContent = words.failed;
    return false;
  }
}

// ---- attachments ----

const attached = document.getElementById("attached");
const notAttached = document.getElementById("not-attached");
const filePicker = document.getElementById("file");
let underWay = 0; // changes of the files on their way to the server
let failures = 0; // an email must not leave without a file unseen

function showFiles(files) {
  const one = document.getElementById("attached-one").content.firstElementChild;
  attached.querySelector("ul").replaceChildren(...files.map((file) => {
    const item = one.cloneNode(true);
    item.dataset.sha256 = file.sha256;
    item.querySelector("bdi").textContent = file.name;
    item.querySelector(".clip").title = file.name;
    item.querySelector("small").textContent = file.size;
    const button = item.querySelector("button");
    button.setAttribute("aria-label", button.getAttribute("aria-label") + file.name);
    return item;
  }));
  attached.hidden = files.length === 0;
  fit();
}

// What went wrong stays beside the title until somebody chooses files again.
function tellFailure(what, reason) {
  failures += 1;
  const text = notAttached.querySelector("p");
  const told = reason ? `${what}: ${reason}` : what;
  text.textContent = notAttached.hidden ? told : `${text.textContent}; ${told}`;
  notAttached.hidden = false;
  fit();
}

async function changeFiles(action, data, what) {
  await saveNow(); // what was typed; a slip in it keeps no file back
  data.set("draft", form.elements.draft.value);
  let reason = "";
  try {
    const answer = await fetch(`${address}/${action}`, { method: "POST", body: data });
    if (answer.headers.get("Content-Type")?.startsWith("application/json")) {
      const told = await answer.json();
      if (answer.ok) {
        form.elements.draft.value = told.draft;
        isToKeep = true;
        if (!hasFailed) saved.textContent = words.saved.replace("{at}", told.at);
        showFiles(told.files);
        return;
      }
      reason = told.error;
    } else if (answer.status === 413) reason = words.tooLarge;
    else if (answer.status === 429) reason = words.tooMany;
  } catch {
    // The server cannot be reached: what follows says that the file is not attached.
  }
  tellFailure(what, reason);
}

// One after the other, between the saves.
function queue(change) {
  underWay += 1;
  running = running.then(change, change).finally(() => { underWay -= 1; });
}

function attach(files) {
  notAttached.hidden = true;
  for (const file of files) {
    const what = words.notAttached.replace("{name}", () => file.name);
    queue(async () => {
      if (file.size > Number(words.most)) { tellFailure(what, words.tooLarge); return; }
      saved.textContent = words.attaching.replace("{name}", () => file.name);
      const data = new FormData();
      data.set("file", file);
      await changeFiles("attach", data, what);
    });
  }
}

form.querySelector("[data-attach]").addEventListener("click", () => filePicker.click());
filePicker.addEventListener("change", () => {
  attach([...filePicker.files]);
  filePicker.value = "";
});
attached.addEventListener("click", (event) => {
  const button = event.target.closest("[data-detach]");
  if (!button) return;
  const item = button.closest("li");
  const place = [...attached.querySelectorAll("li")].indexOf(item);
  const data = new URLSearchParams({ place, sha256: item.dataset.sha256 });
  const buttons = [...attached.querySelectorAll("[data-detach]")];
  for (const one of buttons) one.disabled = true; // the places move
  queue(async () => {
    await changeFiles("detach", data, words.failed);
    for (const one of buttons) one.disabled = false;
  });
});

// A file that is dropped anywhere on the window, the letter included, is attached.
function takesDrops(target) {
  target.addEventListener("dragover", (event) => {
    if (event.dataTransfer.types.includes("Files")) event.preventDefault();
  });
  target.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    attach([...event.dataTransfer.files]);
  });
}
takesDrops(document);

form.addEventListener("input", (event) => {
  if (event.target.name === "subject" || event.target.name === "cc") changed();
});

addEventListener("pagehide", () => {
  if (isChanged && letter && !isLeaving) {
    fetch(`${address}/draft`, { method: "POST", body: typed(), keepalive: true });
  }
});

// What could not be saved is not left behind without a word.
addEventListener("beforeunload", (event) => {
  if ((hasFailed || underWay) && !isLeaving) event.preventDefault();
});

// ---- leaving the window ----

async function leave() {
  const there = form.querySelector("[data-leave]").href;
  const before = failures;
  if (await save() === false || failures !== before) return; // why not stands on the page
  if (isToKeep && form.elements.draft.value) {
    const data = new URLSearchParams({ draft: form.elements.draft.value });
    await fetch(`${address}/keep`, { method: "POST", body: data }).catch(() => null);
  }
  isLeaving = true;
  location.assign(there);
}

form.querySelector("[data-leave]").addEventListener("click", (event) => {
  event.preventDefault();
  leave();
});

// What is sent is what is shown: it is saved first, and looked at where saving changed it.
form.addEventListener("submit", async (event) => {
  if (isLeaving || event.submitter?.hasAttribute("data-plain")) return;
  event.preventDefault();
  if (left()) {
    showPrompts();
    if (schedule.open) schedule.close();
    const first = prompts()[0];
    if (first) choose(first);
    return;
  }
  isChanged = true;
  const before = failures;
  const answer = await save();
  if (failures !== before) { // which file, and why, stands below the title
    if (schedule.open) schedule.close();
    return;
  }
  if (answer === "other") {
    if (schedule.open) schedule.close();
    document.getElementById("signature").hidden = false;
    frame.addEventListener("load", () => frame.contentWindow.focus(), { once: true });
    frame.src = `${address}/compose/letter?draft=${form.elements.draft.value}`;
    return;
  }
  if (answer !== true) return;
  isLeaving = true;
  const label = send.querySelector("span");
  label.textContent = words.sending;
  send.setAttribute("aria-disabled", "true");
  form.requestSubmit(event.submitter);
});

// ---- the schedule ----

const when = document.getElementById("when");
const shown = document.getElementById("when-shown");

function openSchedule() {
  if (left()) { showPrompts(); return; }
  schedule.showModal();
  tellWhen();
}

async function tellWhen() {
  const asked = when.value;
  const answer = await fetch(`${address}/compose/when?${new URLSearchParams({ at: asked })}`);
  const told = await answer.json();
  if (when.value !== asked) return;
  shown.textContent = told.text;
  shown.classList.toggle("error", !told.ok);
}

scheduleButton.addEventListener("click", (event) => {
  event.preventDefault();
  openSchedule();
});
when.addEventListener("input", tellWhen);
for (const button of schedule.querySelectorAll("[data-moment]")) {
  button.addEventListener("click", () => {
    when.value = button.dataset.moment;
    tellWhen();
  });
}

// ---- tools ----

const linkDialog = document.getElementById("link-dialog");
let chosen;

function openLink() {
  const selection = frame.contentDocument.getSelection();
  chosen = selection.rangeCount ? selection.getRangeAt(0).cloneRange() : null;
  const anchor = selection.anchorNode?.parentElement?.closest("a");
  document.getElementById("link-to").value = anchor ? anchor.href : "";
  linkDialog.returnValue = "";
  linkDialog.showModal();
}

linkDialog.addEventListener("close", () => {
  const to = document.getElementById("link-to").value.trim();
  letter.focus();
  if (chosen) {
    const selection = frame.contentDocument.getSelection();
    selection.removeAllRanges();
    selection.addRange(chosen);
  }
  if (linkDialog.returnValue === "off") run("unlink");
  if (linkDialog.returnValue === "set" && /^(https?:|mailto:|tel:)/i.test(to)) run("createLink", to);
});

form.querySelector(".tools").addEventListener("mousedown", (event) => event.preventDefault());
form.querySelector(".tools").addEventListener("click", (event) => {
  const button = event.target.closest("[data-command]");
  if (button) run(button.dataset.command);
  if (event.target.closest("[data-link]")) openLink();
});
})();

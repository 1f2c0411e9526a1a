// The Live Feed listens: rows come as they happen, and wait above while one reads further down.
"use strict";

const stream = document.getElementById("stream");
if (stream) {
  const list = document.getElementById("events");
  const live = document.getElementById("live");
  const lost = document.getElementById("lost");
  const newer = document.getElementById("newer");
  const pause = document.getElementById("pause");
  const waiting = [];
  let paused = false;

  const isReadingBelow = () => document.getElementById("main").scrollTop > 60 || window.scrollY > 60;

  function show(row) {
    if (list.querySelector(`[data-id="${CSS.escape(row.dataset.id)}"]`)) return;
    list.prepend(row);
    while (list.children.length > 300) list.lastElementChild.remove();
    const empty = document.getElementById("empty");
    if (empty) empty.remove();
    live.textContent = live.textContent.replace(/\d\d:\d\d:\d\d|,.*$/, row.querySelector("time").textContent);
  }

  function flush() {
    waiting.splice(0).forEach(show);
    newer.hidden = true;
  }

  function take(event) {
    const holder = document.createElement("ol");
    holder.innerHTML = event.data;
    for (const row of [...holder.children]) {
      if (paused || isReadingBelow()) waiting.push(row);
      else show(row);
    }
    newer.hidden = waiting.length === 0;
    newer.querySelector("span").textContent = newer.dataset.text.replace("{n}", waiting.length);
  }

  const source = new EventSource(stream.dataset.events);
  source.addEventListener("open", () => { lost.hidden = true; });
  source.addEventListener("error", () => { lost.hidden = false; });
  source.addEventListener("message", take);
  newer.addEventListener("click", () => { window.scrollTo({ top: 0 }); document.getElementById("main").scrollTop = 0; flush(); });
  pause.addEventListener("click", () => {
    paused = !paused;
    const word = pause.querySelector("span");
    [word.textContent, pause.dataset.goOn] = [pause.dataset.goOn, word.textContent];
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) flush();
  });
  window.addEventListener("pagehide", () => source.close());
}

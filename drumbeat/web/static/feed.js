// The Live Feed listens: rows come as they happen, and wait above while one reads further down.
"use strict";

const stream = document.getElementById("stream");
if (stream) {
  const AGAIN_AFTER = 2_000; // milliseconds
  const list = document.getElementById("events");
  const main = document.getElementById("main");
  const live = document.getElementById("live");
  const lost = document.getElementById("lost");
  const newer = document.getElementById("newer");
  const pause = document.getElementById("pause");
  const waiting = [];
  const seen = new Set();
  const address = new URL(stream.dataset.events, location.href);
  let paused = false;
  let source = null;
  let timer = null;

  const isReadingBelow = () => main.scrollTop > 60 || window.scrollY > 60;

  function show(row) {
    list.prepend(row);
    while (list.children.length > 300) list.lastElementChild.remove();
    document.getElementById("empty")?.remove();
    document.getElementById("events-day")?.removeAttribute("hidden");
    live.textContent = live.dataset.text.replace("{at}", row.querySelector("time").textContent);
  }

  function flush() {
    waiting.splice(0).forEach(show);
    newer.hidden = true;
  }

  function take(event) {
    const holder = document.createElement("ol");
    holder.innerHTML = event.data;
    for (const row of [...holder.children]) {
      const id = row.dataset.id;
      if (seen.has(id) || list.querySelector(`[data-id="${CSS.escape(id)}"]`)) continue;
      seen.add(id);
      if (paused || isReadingBelow()) waiting.push(row);
      else show(row);
    }
    newer.hidden = waiting.length === 0;
    newer.querySelector("span").textContent = newer.dataset.text.replace("{n}", waiting.length);
  }

  // What the browser asks again by itself goes on after the last event; after an answer that is
  // no stream (a server that is just starting) it gives up, and this asks again.
  function listen() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource(address);
    source.addEventListener("open", () => { lost.hidden = true; });
    source.addEventListener("error", () => {
      lost.hidden = false;
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(listen, AGAIN_AFTER);
    });
    for (const name of ["message", "passed"]) {
      source.addEventListener(name, (event) => {
        if (event.lastEventId) address.searchParams.set("after", event.lastEventId);
        if (name === "message") take(event);
      });
    }
  }

  newer.addEventListener("click", () => {
    window.scrollTo({ top: 0 });
    main.scrollTop = 0;
    flush();
  });
  for (const place of [window, main]) {
    place.addEventListener("scroll", () => {
      if (waiting.length && !paused && !isReadingBelow()) flush();
    }, { passive: true });
  }
  pause.addEventListener("click", () => {
    paused = !paused;
    const word = pause.querySelector("span");
    [word.textContent, pause.dataset.goOn] = [pause.dataset.goOn, word.textContent];
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) flush();
  });
  window.addEventListener("pagehide", () => { clearTimeout(timer); source.close(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  listen();
}

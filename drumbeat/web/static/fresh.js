// Figures of a page that stays open: each part that is marked is fetched anew, from the address that
// it names, else from the page's own.
"use strict";

(() => {
const EVERY = 5_000; // milliseconds: with the 5 s that the server keeps figures, none is over 10 s old

function isInUse(part) {
  return part.contains(document.activeElement) || part.querySelector("[data-at]") !== null;
}

async function refresh(address, parts) {
  let page;
  try {
    const answer = await fetch(address, { headers: { "Accept": "text/html" } });
    if (!answer.ok || answer.redirected) return;
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return; // the server is away for a moment: the next round asks again
  }
  for (const part of parts) {
    const fresh = page.getElementById(part.id);
    if (fresh && part.isConnected && !isInUse(part) && fresh.outerHTML !== part.outerHTML) {
      part.replaceWith(document.importNode(fresh, true));
    }
  }
}

async function round() {
  if (!document.hidden) {
    const byAddress = new Map();
    for (const part of document.querySelectorAll("[data-fresh]")) {
      const address = part.dataset.fresh || location.href;
      byAddress.set(address, [...(byAddress.get(address) ?? []), part]);
    }
    await Promise.all([...byAddress].map(([address, parts]) => refresh(address, parts)));
    document.dispatchEvent(new Event("drumbeat:fresh"));
  }
  setTimeout(round, EVERY);
}

setTimeout(round, EVERY);
})();

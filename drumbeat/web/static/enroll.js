// Enrolling: boxes apply at once, and the first email is rewritten in its frame.
"use strict";

(() => {
for (const box of document.querySelectorAll("[data-submit]")) {
  box.form.querySelector("button").hidden = true;
  box.addEventListener("change", () => box.form.requestSubmit());
}

const moment = document.querySelector("[data-when]");
if (moment) {
  moment.addEventListener("input", () => {
    moment.closest("label").querySelector("input[type=radio]").checked = true;
  });
}

const letters = [...document.querySelectorAll("iframe.letter")];

function fit(frame) {
  const inside = frame.contentDocument;
  if (inside && inside.body) frame.height = Math.ceil(inside.body.getBoundingClientRect().height) + 8;
}

for (const frame of letters) {
  const ready = () => {
    fit(frame);
    const form = frame.closest("form[data-letter]");
    const letter = frame.contentDocument?.getElementById("letter");
    if (!form || !letter || letter.isContentEditable) return;
    letter.contentEditable = "true";
    letter.setAttribute("role", "textbox");
    letter.setAttribute("aria-multiline", "true");
    letter.setAttribute("aria-label", form.querySelector("[data-plain] label").textContent);
    form.querySelector("[data-plain]").hidden = true;
    const plain = form.elements.text;
    const typed = plain.defaultValue;
    if (form.dataset.letter === "typed") letter.innerText = typed;
    letter.addEventListener("input", () => fit(frame));
    letter.addEventListener("keydown", (event) => {
      if (event.ctrlKey && event.key === "Enter") {
        event.preventDefault();
        form.requestSubmit();
      }
      if (event.key === "Escape") form.querySelector("button").focus();
    });
    form.addEventListener("submit", () => { form.elements.html.value = letter.innerHTML; });
  };
  frame.addEventListener("load", ready);
  if (frame.contentDocument?.readyState === "complete") ready();
}
addEventListener("resize", () => letters.forEach(fit));
})();

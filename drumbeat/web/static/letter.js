// A letter in its frame: as high as its text, and edited there where its form says so.
"use strict";

(() => {
const letters = [...document.querySelectorAll("iframe.letter")];

function fit(frame) {
  const inside = frame.contentDocument;
  if (inside && inside.body) frame.height = Math.ceil(inside.body.getBoundingClientRect().height) + 8;
}

// A prompt that nobody has typed over stays one: it is no text that may leave.
function html(letter) {
  const copy = letter.cloneNode(true);
  for (const mark of copy.querySelectorAll("mark.drumbeat-prompt")) {
    const isLeft = mark.textContent.trim() === mark.dataset.prompt;
    mark.replaceWith(isLeft ? `{{! ${mark.dataset.prompt} }}` : mark.textContent);
  }
  return copy.innerHTML;
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
    form.addEventListener("submit", () => { form.elements.html.value = html(letter); });
  };
  frame.addEventListener("load", ready);
  if (frame.contentDocument?.readyState === "complete") ready();
}
addEventListener("resize", () => letters.forEach(fit));
})();

// A letter in its frame: as high as its text, and edited there where its form says so.
"use strict";

(() => {
const letters = [...document.querySelectorAll("iframe.letter")];

function fit(frame) {
  const inside = frame.contentDocument;
  if (inside && inside.body) frame.height = Math.ceil(inside.body.getBoundingClientRect().height) + 8;
}

// Prompts that nobody has typed over: they are no text that may leave.
function prompts(letter) {
  return [...letter.querySelectorAll("mark.drumbeat-prompt")]
    .filter((mark) => mark.textContent.trim() === mark.dataset.prompt);
}

function html(letter) {
  const copy = letter.cloneNode(true);
  for (const mark of prompts(copy)) mark.replaceWith(`{{! ${mark.dataset.prompt} }}`);
  for (const mark of copy.querySelectorAll("mark.drumbeat-prompt")) {
    mark.replaceWith(mark.textContent);
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
    form.addEventListener("submit", (event) => {
      const left = prompts(letter);
      form.querySelector("[data-left]").hidden = left.length === 0;
      if (left.length) {
        event.preventDefault();
        letter.focus();
        frame.contentDocument.getSelection().selectAllChildren(left[0]);
      }
      form.elements.html.value = html(letter);
    });
  };
  frame.addEventListener("load", ready);
  if (frame.contentDocument?.readyState === "complete") ready();
}
addEventListener("resize", () => letters.forEach(fit));
})();

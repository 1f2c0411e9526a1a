// Enrolling: boxes apply at once, and a moment that is typed is the one that is meant.
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
})();

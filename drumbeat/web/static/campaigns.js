// Campaigns: the word on what was done goes out of the address; a file can be dropped on its field.
"use strict";

(() => {
const address = new URL(location.href);
if (address.searchParams.has("said")) {
  address.searchParams.delete("said");
  address.searchParams.delete("n");
  history.replaceState(null, "", address);
}

for (const field of document.querySelectorAll("[data-drop]")) {
  const input = field.querySelector("input[type=file]");
  field.addEventListener("dragover", (event) => {
    event.preventDefault();
    field.setAttribute("data-over", "");
  });
  field.addEventListener("dragleave", () => field.removeAttribute("data-over"));
  field.addEventListener("drop", (event) => {
    event.preventDefault();
    field.removeAttribute("data-over");
    if (event.dataTransfer.files.length) input.files = event.dataTransfer.files;
  });
}
})();

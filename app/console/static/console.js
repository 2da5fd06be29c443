// What the pages do beyond reading: copy, print, say that they are behind. All else works without.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }
  if (event.target.closest("[data-print]")) print();
});
const behind = (is) => { const note = document.getElementById("behind"); if (note) note.hidden = !is; };
document.addEventListener("htmx:error", () => behind(true));
document.addEventListener("htmx:response:error", () => behind(true));
document.addEventListener("htmx:after:request", (event) => { if (event.detail.ctx.response.status < 400) behind(false); });
document.documentElement.classList.add("has-js");

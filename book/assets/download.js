// Hands out the page's notebook. From a static host the link does it alone. From file:// a browser would show the file
// instead of saving it, and lets no script read it: there the same text comes from a script beside the notebook.
function handOut(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/x-ipynb+json" }));
  link.download = name;
  link.click();
}

document.addEventListener("DOMContentLoaded", () => {
  const button = document.querySelector(".btn-download-notebook");
  if (location.protocol !== "file:" || !button) return;
  button.addEventListener("click", (event) => {
    event.preventDefault();
    const notebook = document.createElement("script");
    notebook.src = `${button.getAttribute("href")}.js`;
    document.head.append(notebook);
  });
});

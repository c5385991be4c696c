// A turnable figure: the button puts its page in the place of the still picture, and the picture back.
document.addEventListener("click", (event) => {
  const figure = event.target.closest(".turnable"), button = figure?.querySelector("button");
  if (!button || !event.target.closest("button, img")) return;
  const still = figure.querySelector("img"), open = figure.querySelector("iframe");
  if (open) {
    open.remove();
  } else {
    const { page, title, height } = button.dataset, frame = document.createElement("iframe");
    Object.assign(frame, { src: page, title, width: "100%", height });
    frame.addEventListener("load", () => frame.focus());
    figure.prepend(frame);
  }
  if (still) still.hidden = !open;
  button.textContent = open ? "Turn this figure" : "Back to the picture";
});

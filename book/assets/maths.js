// Sets the page's formulas with KaTeX. Sphinx leaves each as TeX in an element of class "math": between \( and \) in a
// line, between \[ and \] or as an environment of its own where it is displayed. An equation's number stays beside it.
// A full stop after a short formula stays on its line: a browser may break before it, KaTeX's boxes being boxes.
function keepWhatFollows(place) {
  const next = place.nextSibling, follows = next?.nodeType === Node.TEXT_NODE && next.data.match(/^\S{1,8}(?=\s|$)/)?.[0];
  if (!follows || place.querySelectorAll(".katex-base").length !== 1) return;
  const whole = document.createElement("span");
  whole.style.whiteSpace = "nowrap";
  place.replaceWith(whole);
  whole.append(place, follows);
  next.data = next.data.slice(follows.length);
}

document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".math")) {
    for (const text of [...place.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim())) {
      const source = text.data.trim();
      const between = source.match(/^\\[([]([^]*)\\[)\]]$/);
      const formula = document.createElement("span");
      katex.render(between ? between[1] : source, formula, {
        displayMode: !source.startsWith("\\("),
        throwOnError: false,
      });
      text.replaceWith(formula);
    }
    keepWhatFollows(place);
  }
});

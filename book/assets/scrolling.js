// A table, printed output or figure that is wider than the page scrolls by itself; whoever reads by keyboard must be able
// to reach it.
const SCROLLING = ".bd-article table.table, .bd-article div.cell_output";

function reachScrolling() {
  for (const region of document.querySelectorAll(SCROLLING)) {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }
}

addEventListener("load", reachScrolling);
addEventListener("resize", reachScrolling);

// A table that is wider than the page scrolls by itself; whoever reads by keyboard must be able to reach it.
function reachScrollingTables() {
  for (const table of document.querySelectorAll(".bd-article table.table")) {
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0;
    else table.removeAttribute("tabindex");
  }
}

addEventListener("load", reachScrollingTables);
addEventListener("resize", reachScrollingTables);

// What both labs share: the data, the theme, the height of the frame around them, and settings from the address.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const element = id => document.getElementById(id);
const bytes = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// Start a lab: `draw()` shows the present settings. The book around it may say which theme it has; paper is light.
function start(draw) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  let told = null;
  let waiting = false;
  const paint = theme => {
    root.dataset.theme = theme;
    draw();
  };
  const repaint = () => paint(told || (system.matches ? "dark" : "light"));
  system.addEventListener("change", repaint);
  addEventListener("message", event => {
    if (event.source !== parent || !["light", "dark"].includes(event.data.theme)) return;
    told = event.data.theme;
    repaint();
  });
  addEventListener("beforeprint", () => paint("light"));
  addEventListener("afterprint", repaint);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) setControl(name, value);
  const soon = () => {
    if (!waiting)
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    waiting = true;
  };
  document.addEventListener("input", soon);
  document.querySelector("main").hidden = false;
  repaint();
  new ResizeObserver(() => {
    if (parent !== window) parent.postMessage({ labHeight: Math.ceil(root.getBoundingClientRect().height) }, "*");
    soon();
  }).observe(root);
  return soon;
}

// #name=value: a slider's id, or the name of a group of radio buttons.
function setControl(name, value) {
  const slider = document.querySelector(`input[type="range"][id="${CSS.escape(name)}"]`);
  const choice = document.querySelector(`input[name="${CSS.escape(name)}"][value="${CSS.escape(value)}"]`);
  if (slider) slider.value = value;
  if (choice) choice.checked = true;
}

// Write HTML only where it changes: a screen reader reads every change of a status.
const said = {};
function say(id, text) {
  if (said[id] !== text) element(id).innerHTML = said[id] = text;
}

const chosen = name => document.querySelector(`input[name="${name}"]:checked`).value;

// A canvas as sharp as the screen; returns its context, in CSS pixels.
function sharp(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

function line(context, points, stroke, width, dash = []) {
  context.beginPath();
  for (const [x, y] of points) context.lineTo(x, y);
  Object.assign(context, { strokeStyle: stroke, lineWidth: width, lineJoin: "round" });
  context.setLineDash(dash);
  context.stroke();
  context.setLineDash([]);
}

function ring(context, [x, y], radius, stroke) {
  for (const [style, width] of [
    [colour("paper"), 5.5],
    [stroke, 2.8],
  ]) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    Object.assign(context, { strokeStyle: style, lineWidth: width });
    context.stroke();
  }
}

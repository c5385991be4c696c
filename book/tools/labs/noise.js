const WIDTH = data.width;
const HEIGHT = data.height;
const LOW = Math.log(data.sigma_min);
const HIGH = Math.log(data.sigma_max);
const films = { rgb: colourFilm(), depth: depthFilm() };
let seed = 1;
let noises = drawNoise();

// An image as numbers of mean zero and mean square one, and how to paint such numbers into pixels (RGBA).
function standardised(values, paint) {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const std = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
  return {
    x: values.map(value => (value - mean) / std),
    paint: (numbers, pixels) =>
      paint(
        numbers.map(x => mean + std * x),
        pixels,
      ),
  };
}

function colourFilm() {
  return standardised(Float64Array.from(bytes(data.rgb)), (rgb, pixels) =>
    rgb.forEach((value, i) => {
      pixels[4 * Math.floor(i / 3) + (i % 3)] = value;
    }),
  );
}

// Pixels without a depth are no part of the question; they stay grey.
function depthFilm() {
  const depth = new Uint16Array(bytes(data.depth).buffer);
  const [near, far] = data.depth_range_m;
  const ramp = bytes(data.depth_colours);
  const seen = [...depth.keys()].filter(pixel => depth[pixel]);
  return standardised(
    Float64Array.from(seen, pixel => depth[pixel] * data.unit_m),
    (metres, pixels) => {
      pixels.fill(217);
      metres.forEach((value, i) => {
        const step = clamp(Math.floor((256 * (value - near)) / (far - near)), 0, 255);
        pixels.set(ramp.subarray(3 * step, 3 * step + 3), 4 * seen[i]);
      });
    },
  );
}

function drawNoise() {
  return Object.fromEntries(Object.entries(films).map(([name, film]) => [name, normalNoise(film.x.length, seed)]));
}

function show(id, film, values, noiseShare) {
  const canvas = element(id);
  const picture = new ImageData(WIDTH, HEIGHT);
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  film.paint(values, picture.data);
  for (let i = 3; i < picture.data.length; i += 4) picture.data[i] = 255;
  canvas.getContext("2d").putImageData(picture, 0, 0);
  const percent = Math.round(100 * noiseShare);
  const caption = canvas.nextElementSibling;
  caption.querySelector("p")?.remove();
  const note = document.createElement("p");
  note.innerHTML =
    `<span class="bar"><i style="width: ${percent}%"></i></span>` +
    `${percent}% noise<br>mean square <span class="power">${power(meanSquare(values))}</span>`;
  caption.append(note);
}

const power = value => (value < 100 ? value.toFixed(2) : short(value));

// Three significant digits, with a true minus sign.
function short(value) {
  const text =
    Math.abs(value) >= 1e4 || (value && Math.abs(value) < 1e-3)
      ? scientific(value)
      : Math.abs(value) >= 100
        ? value.toFixed(0)
        : String(Number(value.toPrecision(3)));
  return text.replace("-", "\u2212");
}

function scientific(value) {
  const [digits, power] = value.toExponential(1).split("e");
  const raised = [...power.replace("+", "")].map(
    sign => "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"["-0123456789".indexOf(sign)],
  );
  return `${digits}\u00b710${raised.join("")}`;
}

function verdict(sigma) {
  const noise = noiseInTarget(sigma);
  if (noise > 0.9)
    return (
      "<strong>Asked for the noise.</strong> The image is plain to see; what remains is to say which grain is on it. " +
      `The answer is then used with the small factor c_out = ${short(cOut(sigma))}.`
    );
  if (noise < 0.1)
    return (
      "<strong>Asked for the image.</strong> The noise covers it, so the network has to draw it from what shows " +
      "through and from what it knows. F holds it as a negative, because c_out is negative."
    );
  return (
    "<strong>Asked for some of both.</strong> Question and answer are the same two ingredients, image and noise, " +
    "in exchanged shares."
  );
}

function drawPlot(sigma) {
  const svg = element("plot");
  const width = svg.getBoundingClientRect().width;
  const left = 34;
  const right = width - 12;
  const strips = { coefficients: [26, 116], training: [164, 244] };
  const bottom = strips.training[1];
  const x = level => left + ((Math.log(level) - LOW) / (HIGH - LOW)) * (right - left);
  const levels = Array.from({ length: 161 }, (_, i) => Math.exp(LOW + ((HIGH - LOW) * i) / 160));
  const curve = (strip, top, formula, stroke, dash) => {
    const [high, low] = strips[strip];
    const points = levels.map(
      level => `${x(level).toFixed(1)} ${(low - ((low - high) * formula(level)) / top).toFixed(1)}`,
    );
    return `<path d="M${points.join("L")}" stroke="var(--${stroke})" stroke-dasharray="${dash}"/>`;
  };
  const ticks = [0.01, 0.1, 1, 10, 100].map(
    level =>
      `<line x1="${x(level)}" x2="${x(level)}" y1="26" y2="${bottom}"/>` +
      `<text class="faint" x="${x(level)}" y="${bottom + 18}" text-anchor="middle">${level}</text>`,
  );
  const ends = Object.values(strips).map(([, low]) => `<line x1="${left}" x2="${right}" y1="${low}" y2="${low}"/>`);
  const legend = (at, y, entries) =>
    `<text x="${at}" y="${y}">${entries
      .map(([text, fill], i) => `<tspan dx="${i ? 14 : 0}" style="fill: var(--${fill})">${text}</tspan>`)
      .join("")}</text>`;
  const top = density(Math.exp(data.recipes.plain.mean), data.recipes.plain) * 1.05;
  svg.setAttribute("height", bottom + 42);
  svg.innerHTML = [
    ...ticks,
    ...ends,
    curve("coefficients", 1, cIn, "n", ""),
    curve("coefficients", 1, cSkip, "good", "7 4"),
    curve("coefficients", 1, level => -cOut(level), "m", "2 3"),
    curve("training", top, level => density(level, data.recipes.plain), "soft", ""),
    curve("training", top, level => density(level, data.recipes.best), "noise", "7 4"),
    `<text class="faint" x="${left - 6}" y="31" text-anchor="end">1</text>`,
    `<text class="faint" x="${left - 6}" y="116" text-anchor="end">0</text>`,
    legend(left, 16, [
      ["c_in solid", "n"],
      ["c_skip dashed", "good"],
      ["\u2212c_out dotted", "m"],
    ]),
    legend(left, 150, [
      ["in training: plain", "soft"],
      ["best (dashed)", "noise"],
    ]),
    `<text class="faint" x="${(left + right) / 2}" y="${bottom + 38}" text-anchor="middle">noise level \u03c3</text>`,
    `<line id="now" x1="${x(sigma)}" x2="${x(sigma)}" y1="22" y2="${bottom + 4}"/>`,
  ].join("");
}

function writeNumbers(sigma) {
  const numbers = {
    c_in: cIn(sigma),
    c_noise: cNoise(sigma),
    c_skip: cSkip(sigma),
    c_out: cOut(sigma),
    weight: lossWeight(sigma),
    answer_weight: lossWeight(sigma) * cOut(sigma) ** 2,
  };
  for (const [id, value] of Object.entries(numbers)) element(id).textContent = short(value);
  for (const name of ["plain", "best"]) {
    const { mean, std } = data.recipes[name];
    element(`${name}_share`).textContent = Math.round(100 * shareNoisier(sigma, data.recipes[name]));
    element(`${name}_law`).textContent = `N(${mean}, ${std}\u00b2)`;
  }
}

function draw() {
  const sigma = Math.exp(Number(element("lnsigma").value));
  const show_ = chosen("show");
  const film = films[show_];
  const e = noises[show_];
  const noisy = addNoise(film.x, e, sigma);
  show("clean", film, film.x, 0);
  show("noisy", film, noisy, noiseInInput(sigma));
  show("given", film, networkInput(noisy, sigma), noiseInInput(sigma));
  show("asked", film, networkTarget(film.x, noisy, sigma), noiseInTarget(sigma));
  element("lnsigma_out").textContent = `\u03c3 = ${short(sigma)}`;
  element("lnsigma").setAttribute("aria-valuetext", `sigma ${short(sigma)}`);
  say("verdict", verdict(sigma).replace(/c_(in|out|skip)/g, "<i>c</i><sub>$1</sub>"));
  drawPlot(sigma);
  writeNumbers(sigma);
}

Object.assign(element("lnsigma"), { min: LOW.toFixed(2), max: HIGH.toFixed(2) });
const soon = start(draw);
element("again").addEventListener("click", () => {
  seed += 1;
  noises = drawNoise();
  soon();
});

const CENTRE = [0.02, 0, 0.36]; // of the 3D picture, in the world
const EVERY = 3; // pixels between two drawn points
const AGREE_M = 0.015; // a median gap below this is called agreement
const { K, X_Wn, unit_m: UNIT_M } = data;
const group = values => Array.from({ length: values.length / 3 }, (_, i) => Array.from(values.slice(3 * i, 3 * i + 3)));
const mesh = {
  vertices: group(new Int16Array(bytes(data.vertices).buffer)).map(p => p.map(value => value * UNIT_M)),
  triangles: group(new Uint16Array(bytes(data.triangles).buffer)),
};
const isTable = mesh.triangles.map(corners => corners.every(corner => mesh.vertices[corner][2] < 0.001));
const shades = shadedColours();
const n = photograph(X_Wn);
let p_W = data.p_W; // the ringed point
let turn = { yaw: 0.75, pitch: 0.3 }; // how the 3D picture is turned, radians
let m = null;
let m_key = ""; // what camera m measures, and the place for which that was computed
let shown = {};
let glide = null;
let soon = null; // what is drawn now, and a change of frame under way
const GLIDE_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 700;

// Colours (0 to 1) of the triangles under one distant light.
function shadedColours() {
  const rgb = group(bytes(data.rgb));
  const light = normalise(data.light.map(value => -value));
  return mesh.triangles.map((corners, i) => {
    const [a, b, c] = corners.map(corner => mesh.vertices[corner]);
    const normal = cross(subtract(b, a), subtract(c, a));
    const length = Math.sqrt(dot(normal, normal)) || 1;
    const share = 0.62 + 0.42 * Math.max(0, dot(normal, light) / length);
    return rgb[i].map(value => Math.min(1, (share * value) / 255));
  });
}

// What a camera at X_WC measures: depth image, picture, and its pointmap at every third pixel, in its own frame.
function photograph(X_WC) {
  const { depth, face } = renderDepth(mesh, X_WC, K);
  const points = [];
  const colours = [];
  for (let v = 1; v < K.height; v += EVERY)
    for (let u = 1; u < K.width; u += EVERY) {
      const pixel = v * K.width + u;
      if (!depth[pixel]) continue;
      points.push(unproject(u, v, depth[pixel], K));
      colours.push(
        isTable[face[pixel]] ? null : `rgb(${shades[face[pixel]].map(value => Math.round(255 * value)).join(" ")})`,
      );
    }
  const picture = new ImageData(K.width, K.height);
  face.forEach((triangle, pixel) => {
    const rgb = triangle < 0 ? data.wall : shades[triangle].map(value => 255 * value);
    picture.data.set([...rgb, 255], 4 * pixel);
  });
  return { X_WC, depth, points, colours, picture };
}

// What is drawn where, as poses in the world: each camera with its points, and the axes of the frame. The picture
// always shows n's points where they are, so that only what is expressed differently moves.
const IDENTITY = compose(X_Wn, invert(X_Wn));
function drawnPoses(frame, m) {
  return { n: X_Wn, m: frame === "own" ? X_Wn : m.X_WC, origin: frame === "world" ? IDENTITY : X_Wn };
}

const mix = (A, B, share) => A.map((row, i) => row.map((value, j) => (1 - share) * value + share * B[i][j]));

// A point of the world along the axes of the screen: right, up, towards the reader.
function turned(p) {
  const [toward, right, up] = subtract(p, CENTRE);
  const [cy, sy, cp, sp] = [Math.cos(turn.yaw), Math.sin(turn.yaw), Math.cos(turn.pitch), Math.sin(turn.pitch)];
  const near = cy * toward - sy * right;
  return [cy * right + sy * toward, cp * up - sp * near, sp * up + cp * near];
}

// Table points are small and in the colour of their view; what stands on the table has its own colour.
function drawSpace(m, poses) {
  const canvas = element("space");
  const { width, height } = canvas.getBoundingClientRect();
  const context = sharp(canvas, width, height);
  const far = 3.4; // metres from the reader's eye to the middle of the picture
  const size = Math.min(width / 1.5, height / 1.2) * far;
  const place = p => {
    const [x, y, z] = turned(p);
    return [width / 2 + (size * x) / (far - z), height / 2 - (size * y) / (far - z), z];
  };
  const dots = Object.entries({ n, m }).flatMap(([name, camera]) => {
    const pose = poses[name];
    const table = colour(name);
    return camera.points.map((p, i) => [
      ...place(transform(pose, p)),
      camera.colours[i] || table,
      camera.colours[i] ? 3.4 : 2,
    ]);
  });
  dots.sort((a, b) => a[2] - b[2]);
  for (const [x, y, , fill, side] of dots) {
    context.fillStyle = fill;
    context.fillRect(x - side / 2, y - side / 2, side, side);
  }
  context.font = "600 15px system-ui, sans-serif";
  drawAxes(context, place, poses.origin);
  for (const name of ["n", "m"]) drawPyramid(context, place, poses[name], name);
  drawRings(context, place, m, poses);
}

// The axes of the frame that is drawn: x red, y green, z blue.
function drawAxes(context, place, pose) {
  const LENGTH_M = 0.24;
  ["x", "y", "z"].forEach((axis, i) => {
    const tip = [0, 1, 2].map(j => (i === j ? LENGTH_M : 0));
    const end = place(transform(pose, tip));
    line(context, [place(transform(pose, [0, 0, 0])), end], colour(axis), 3);
    context.fillStyle = colour(axis);
    context.fillText(axis, end[0] + 4, end[1] + 4);
  });
}

// A camera: its pinhole, its image 14 cm before it, and a roof that marks the image's upper edge.
function drawPyramid(context, place, pose, name) {
  const at = (u, v) => place(transform(pose, unproject(u, v, 0.14, K)));
  const right = K.width - 0.5;
  const bottom = K.height - 0.5;
  const eye = place(transform(pose, [0, 0, 0]));
  const corners = [at(-0.5, -0.5), at(right, -0.5), at(right, bottom), at(-0.5, bottom)];
  line(context, [...corners, corners[0], at(K.cx, -0.22 * K.height), corners[1]], colour(name), 2.2);
  for (const corner of corners) line(context, [eye, corner], colour(name), 2.2);
  context.fillStyle = colour(name);
  context.fillText(name, eye[0] + (name === "n" ? -16 : 8), eye[1] - 6);
}

// The ringed point where n's pointmap has it and where m's has it, and the gap between them.
function drawRings(context, place, m, poses) {
  const [at_n, at_m] = [
    [n, "n"],
    [m, "m"],
  ].map(([camera, name]) => place(transform(poses[name], transform(invert(camera.X_WC), p_W))));
  line(context, [at_n, at_m], colour("ink"), 2, [5, 4]);
  ring(context, at_n, 7, colour("n"));
  ring(context, at_m, 10, colour("m"));
}

function drawPhoto(id, camera, name) {
  const canvas = element(id);
  const { width, height } = canvas.getBoundingClientRect();
  const context = sharp(canvas, width, height);
  const small = Object.assign(document.createElement("canvas"), { width: K.width, height: K.height });
  small.getContext("2d").putImageData(camera.picture, 0, 0);
  context.drawImage(small, 0, 0, width, height);
  const [u, v] = project(transform(invert(camera.X_WC), p_W), K);
  ring(context, [((u + 0.5) * width) / K.width, ((v + 0.5) * height) / K.height], name === "n" ? 7 : 9, colour(name));
}

// What a camera measures where it should see the ringed point: its pixel, the point's z and the depth image's.
function look(camera) {
  const p = transform(invert(camera.X_WC), p_W);
  const pixel = project(p, K);
  const [u, v] = pixel.map(Math.round);
  const inside = p[2] > 0 && u >= 0 && v >= 0 && u < K.width && v < K.height;
  const measured = inside ? camera.depth[v * K.width + u] : 0;
  return { p, pixel, inside, measured, hidden: inside && measured > 0 && measured < p[2] - 0.02 };
}

const metres = value => value.toFixed(3).replace("-", "\u2212");
const triple = p => `(${p.map(metres).join(", ")})`;

function writeNumbers(m) {
  const in_m = look(m);
  const in_n = look(n);
  const X_nm = relativePose(X_Wn, m.X_WC);
  const p_n = transform(X_nm, in_m.p);
  const pixel = in_m.pixel.map(value => value.toFixed(1)).join(", ");
  element("pixel").textContent = in_m.inside ? `(${pixel})` : "outside its image";
  element("depth").textContent = in_m.hidden ? `${metres(in_m.p[2])} (hidden)` : metres(in_m.p[2]);
  element("p_m").textContent = triple(in_m.p);
  element("p_n").textContent = triple(p_n);
  element("measured").textContent = in_n.measured
    ? metres(in_n.measured) + (in_n.hidden ? " (in front of it)" : "")
    : "nothing";
  element("X_nm").innerHTML = X_nm.slice(0, 3)
    .map(row => `<tr>${row.map(value => `<td>${metres(value)}</td>`).join("")}</tr>`)
    .join("");
}

// Only what stands on the table is compared: a table is flat and lies in itself after many a wrong move.
function writeVerdict(frame, m) {
  const things = m.points.filter((_, i) => m.colours[i]);
  const X_nm = relativePose(X_Wn, m.X_WC);
  const gaps = gapsToDepth(frame === "own" ? things : things.map(p => transform(X_nm, p)), n.depth, K);
  const gap = `${(100 * median(gaps)).toFixed(1)}\u00a0cm`;
  const agree = median(gaps) < AGREE_M;
  const verdict = element("verdict");
  const share = Math.round((100 * gaps.filter(value => value < 0.01).length) / gaps.length);
  const things_of_m = "m\u2019s points of what stands on the table";
  const words = {
    own: agree
      ? "m stands where n stands, or nearly, so the two frames are one."
      : `Read as if both frames were one, ${things_of_m} miss what n measured by ${gap} (median).`,
    n:
      `Moved by X\u207f\u1d50, ${things_of_m} lie on what n measured: median gap ${gap}, ${share}% within 1 cm. ` +
      "The rest is mostly hidden from n.",
    world: `Nothing has moved but the axes: median gap ${gap}. But who tells where the two cameras stand in the world?`,
  }[frame];
  verdict.className = `verdict ${agree ? "good" : "bad"}`;
  say("verdict", `<strong>${agree ? "They agree." : "They disagree."}</strong> ${words}`);
}

function draw() {
  const [azimuth, elevation, distance] = ["azimuth", "elevation", "distance"].map(id => Number(element(id).value));
  const eye = placeOnDome(azimuth, elevation, distance);
  const key = eye.join();
  if (key !== m_key) [m, m_key] = [photograph(lookAt(eye, data.target)), key];
  element("azimuth_out").textContent = `${azimuth}\u00b0`.replace("-", "\u2212");
  element("elevation_out").textContent = `${elevation}\u00b0`;
  element("distance_out").textContent = `${distance.toFixed(2)} m`;
  element("shell").textContent = insideShell(eye, data.shell)
    ? "m stands inside the paper\u2019s shell: a place where a training camera may stand."
    : "m stands outside the paper\u2019s shell: no training camera stands here.";
  const frame = chosen("frame");
  const target = drawnPoses(frame, m);
  if (shown.poses && frame !== shown.frame) glide = { from: shown.poses, since: performance.now() };
  const past = glide ? clamp((performance.now() - glide.since) / GLIDE_MS, 0, 1) : 1;
  const share = past * past * (3 - 2 * past);
  const poses =
    past < 1
      ? Object.fromEntries(Object.keys(target).map(name => [name, mix(glide.from[name], target[name], share)]))
      : target;
  shown = { frame, poses };
  if (past < 1) soon();
  else glide = null;
  drawSpace(m, poses);
  drawPhoto("image_n", n, "n");
  drawPhoto("image_m", m, "m");
  writeNumbers(m);
  writeVerdict(frame, m);
}

// Ring the point that m sees at a pixel, if it sees one.
function choose(u, v) {
  [u, v] = [clamp(Math.round(u), 0, K.width - 1), clamp(Math.round(v), 0, K.height - 1)];
  const z = m.depth[v * K.width + u];
  if (z) p_W = transform(m.X_WC, unproject(u, v, z, K));
  soon();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function onArrows(canvas, act) {
  canvas.addEventListener("keydown", event => {
    if (!ARROWS[event.key]) return;
    event.preventDefault();
    act(...ARROWS[event.key].map(step => step * (event.shiftKey ? 8 : 1)));
    soon();
  });
}

function rotate(right, down) {
  turn = { yaw: turn.yaw + right, pitch: clamp(turn.pitch + down, -1.4, 1.4) };
  soon();
}

onArrows(element("space"), (right, down) => rotate(0.08 * right, 0.08 * down));
onArrows(element("image_m"), (right, down) => {
  const { pixel } = look(m);
  choose(pixel[0] + right, pixel[1] + down);
});
element("image_m").addEventListener("click", event => {
  const box = event.target.getBoundingClientRect();
  choose(
    ((event.clientX - box.left) * K.width) / box.width - 0.5,
    ((event.clientY - box.top) * K.height) / box.height - 0.5,
  );
});
let held = null; // where the pointer was when the picture was last turned by it
element("space").addEventListener("pointerdown", event => {
  event.target.setPointerCapture(event.pointerId);
  held = event;
});
element("space").addEventListener("pointermove", event => {
  if (!event.buttons || !held) return;
  rotate(0.01 * (event.clientX - held.clientX), 0.01 * (event.clientY - held.clientY));
  held = event;
});
soon = start(draw);

// Frames and units as in geo4d_lite.geometry: metres; optical frames (x right, y down, z forward); a pose X is a list
// of four rows; the centre of the first pixel is (0, 0). tests/test_labs.py compares every function with the package.

const subtract = (a, b) => a.map((value, i) => value - b[i]);
const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const normalise = a => a.map(value => value / Math.sqrt(dot(a, a)));

// Where a camera stands: angles in degrees about the origin of the table top, distance in metres.
function placeOnDome(azimuth, elevation, distance) {
  const [a, e] = [azimuth, elevation].map(angle => (angle * Math.PI) / 180);
  return [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)].map(value => distance * value);
}

function insideShell(p, shell) {
  const radius = Math.sqrt(dot(p, p));
  return (
    shell.min_radius <= radius &&
    radius <= shell.max_radius &&
    p.every((value, i) => shell.low[i] <= value && value <= shell.high[i])
  );
}

// X_WC of a camera at `eye` that looks at `target`; the world's z appears upwards.
function lookAt(eye, target) {
  const z = normalise(subtract(target, eye));
  const x = normalise(cross(z, [0, 0, 1]));
  const y = cross(z, x);
  return [0, 1, 2].map(i => [x[i], y[i], z[i], eye[i]]).concat([[0, 0, 0, 1]]);
}

function invert(X) {
  const column = j => X.slice(0, 3).map(row => row[j]);
  return [0, 1, 2].map(j => [...column(j), -dot(column(j), column(3))]).concat([[0, 0, 0, 1]]);
}

const compose = (A, B) => A.map(row => [0, 1, 2, 3].map(j => row.reduce((sum, a, k) => sum + a * B[k][j], 0)));
const relativePose = (X_Wn, X_Wm) => compose(invert(X_Wn), X_Wm);
const transform = (X, p) => [0, 1, 2].map(i => X[i][0] * p[0] + X[i][1] * p[1] + X[i][2] * p[2] + X[i][3]);

const unproject = (u, v, z, K) => [((u - K.cx) * z) / K.fx, ((v - K.cy) * z) / K.fy, z];
const project = (p, K) => [(K.fx * p[0]) / p[2] + K.cx, (K.fy * p[1]) / p[2] + K.cy];

// The depth image of a camera: for each pixel the z of the nearest triangle, 0 where there is none, and its number.
function renderDepth(mesh, X_WC, K) {
  const depth = new Float64Array(K.width * K.height);
  const face = new Int32Array(K.width * K.height).fill(-1);
  const X_CW = invert(X_WC);
  const seen = mesh.vertices.map(p => transform(X_CW, p));
  mesh.triangles.forEach((corners, index) => {
    const polygon = clipNear(corners.map(corner => seen[corner]));
    for (let i = 2; i < polygon.length; i++)
      drawTriangle([polygon[0], polygon[i - 1], polygon[i]], index, K, depth, face);
  });
  return { depth, face };
}

// What of a polygon (points in the camera's frame) lies more than 5 cm before the camera.
function clipNear(polygon, near = 0.05) {
  return polygon.flatMap((p, i) => {
    const q = polygon[(i + 1) % polygon.length];
    const kept = p[2] > near ? [p] : [];
    if (p[2] > near === q[2] > near) return kept;
    const share = (near - p[2]) / (q[2] - p[2]);
    return [...kept, p.map((value, axis) => value + share * (q[axis] - value))];
  });
}

// 1/z is linear in the image: weigh it by the three parts into which a pixel cuts the triangle.
function drawTriangle(corners, index, K, depth, face) {
  const [[ax, ay], [bx, by], [cx, cy]] = corners.map(p => project(p, K));
  const area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
  if (!area) return;
  const [za, zb, zc] = corners.map(p => 1 / p[2] / area);
  const [left, right] = [Math.max(0, Math.ceil(Math.min(ax, bx, cx))), Math.min(K.width - 1, Math.max(ax, bx, cx))];
  const [top, bottom] = [Math.max(0, Math.ceil(Math.min(ay, by, cy))), Math.min(K.height - 1, Math.max(ay, by, cy))];
  for (let v = top; v <= bottom; v++)
    for (let u = left; u <= right; u++) {
      const a = (bx - u) * (cy - v) - (by - v) * (cx - u);
      const b = (cx - u) * (ay - v) - (cy - v) * (ax - u);
      const c = area - a - b;
      if (a * area < 0 || b * area < 0 || c * area < 0) continue;
      const z = 1 / (a * za + b * zb + c * zc);
      const pixel = v * K.width + u;
      if (depth[pixel] && depth[pixel] <= z) continue;
      depth[pixel] = z;
      face[pixel] = index;
    }
}

// Points read as if they were in the frame of n: gaps in metres between their z and the depth that n measured there.
function gapsToDepth(points, depth_n, K) {
  return points.flatMap(p => {
    const [u, v] = p[2] > 0 ? project(p, K).map(Math.round) : [-1, -1];
    const measured = u >= 0 && v >= 0 && u < K.width && v < K.height ? depth_n[v * K.width + u] : 0;
    return measured ? [Math.abs(p[2] - measured)] : [];
  });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

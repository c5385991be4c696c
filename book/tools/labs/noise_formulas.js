// The coefficients of geo4d_lite.models.diffusion. tests/test_labs.py compares them with the package.

const cSkip = sigma => 1 / (sigma ** 2 + 1);
const cOut = sigma => -sigma / Math.sqrt(sigma ** 2 + 1);
const cIn = sigma => 1 / Math.sqrt(sigma ** 2 + 1);
const cNoise = sigma => Math.log(sigma) / 4;
const lossWeight = sigma => (sigma ** 2 + 1) / sigma ** 2; // of the squared error of D

// Arrays of numbers, all of one length: the clean picture x and the noise e, each of mean square one.
const addNoise = (x, e, sigma) => x.map((value, i) => value + sigma * e[i]);
const networkInput = (noisy, sigma) => noisy.map(value => cIn(sigma) * value);
const networkTarget = (x, noisy, sigma) => noisy.map((value, i) => (x[i] - cSkip(sigma) * value) / cOut(sigma));
const denoised = (noisy, answer, sigma) => noisy.map((value, i) => cSkip(sigma) * value + cOut(sigma) * answer[i]);
const meanSquare = values => values.reduce((sum, value) => sum + value * value, 0) / values.length;

// Of the network's input, and of its target, how much is noise; the rest is picture.
const noiseInInput = sigma => sigma ** 2 / (sigma ** 2 + 1);
const noiseInTarget = sigma => 1 / (sigma ** 2 + 1);

// Training draws ln sigma from a normal distribution: its density, and the share of draws with more noise than sigma.
const density = (sigma, { mean, std }) =>
  Math.exp(-(((Math.log(sigma) - mean) / std) ** 2) / 2) / (std * Math.sqrt(2 * Math.PI));
const shareNoisier = (sigma, { mean, std }) => normalTail((Math.log(sigma) - mean) / std);

// The area under the normal curve right of z, by Simpson's rule from 0 to |z|.
function normalTail(z) {
  const end = Math.min(Math.abs(z), 8);
  const steps = 200;
  const width = end / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    const share = i === 0 || i === steps ? 1 : i % 2 ? 4 : 2;
    sum += share * Math.exp(-((i * width) ** 2) / 2);
  }
  const area = (sum * width) / 3 / Math.sqrt(2 * Math.PI);
  return z > 0 ? 0.5 - area : 0.5 + area;
}

// `count` standard normal numbers, the same for the same seed: a 32-bit mixing generator and Box and Muller's formula.
function normalNoise(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (((mixed ^ (mixed >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  };
  return Float64Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

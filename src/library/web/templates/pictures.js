// Pictures become bytes of the network's size in whole numbers, as `ninc run` makes them.

const rounded = (whole, part) => Math.floor((2 * whole + part) / (2 * part));

/** What pixels `start` to `start + count` of `target` take of a row of `source`: first pixels, and parts of 2^22. */
function taps(source, target, start, count) {
  const reach = 2 * Math.max(source, target);
  return Array.from({ length: count }, (_, i) => {
    const middle = (2 * (start + i) + 1) * source;
    const distance = (x) => Math.abs((2 * x + 1) * target - middle);
    let first = middle > reach ? Math.floor((middle - reach) / (2 * target)) : 0;
    while (first < source && distance(first) >= reach) first++;
    const weights = [];
    for (let x = first; x < source && distance(x) < reach; x++) weights.push(reach - distance(x));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: Int32Array.from(weights, (weight) => rounded(weight * 2 ** 22, sum)) };
  });
}

/** One channel of a pixel: `from` is that of the first pixel, `step` the bytes between two. */
function tap({ first, weights }, bytes, from, step) {
  let sum = 1 << 21;
  let at = from + first * step;
  for (let i = 0; i < weights.length; i++, at += step) sum += bytes[at] * weights[i];
  return Math.min(sum >> 22, 255);
}

/** A row of a picture as red, green and blue, on the background. */
function row(pixels, from, channels, width, to) {
  const alpha = channels % 2 === 0 ? channels - 1 : 0;
  for (let x = 0; x < width; x++, from += channels) {
    for (let c = 0; c < 3; c++) {
      const own = pixels[from + (channels > 2 ? c : 0)];
      const part = alpha ? pixels[from + alpha] : 255;
      to[3 * x + c] = Math.floor((own * part + about.pictures.background[c] * (255 - part) + 127) / 255);
    }
  }
}

function grey(red, green, blue) {
  if (about.pictures.rec709) return Math.floor((2126 * red + 7152 * green + 722 * blue) / 10000);
  return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
}

/** The bytes of a picture at the network's size: row by row, the channels of a pixel together. */
export function read(picture) {
  if (!about.pictures) throw new TypeError(`${about.name} takes no pictures: give it a Float32Array`);
  const { channels, height: h, width: w, crop } = about.pictures;
  const { width, height, data } = picture ?? {};
  if (!["Uint8Array", "Uint8ClampedArray"].includes(kind(data))) {
    const bytes = "bytes as its data (Uint8Array or Uint8ClampedArray)";
    const other = "prepared numbers come in a Float32Array";
    throw new TypeError(`a picture is { width, height, data } with ${bytes}, not ${kind(data)}; ${other}`);
  }
  const given = data.length / (width * height);
  const side = (pixels) => Number.isInteger(pixels) && pixels >= 1 && pixels <= 0x8000;
  if (!side(width) || !side(height) || ![1, 2, 3, 4].includes(given)) {
    const wanted = "a width and a height, whole numbers of at most 32768, and 1 to 4 bytes for each pixel";
    throw new TypeError(`a picture has ${wanted}, not ${data.length} bytes for ${width} x ${height} pixels`);
  }
  // The size before cutting.
  let [wide, high] = [w, h];
  if (crop && w * height >= h * width) high = Math.max(rounded(height * w, width), h);
  else if (crop) wide = Math.max(rounded(width * h, height), w);
  const across = taps(width, wide, (wide - w) >> 1, w);
  const along = taps(height, high, (high - h) >> 1, h);
  const line = new Uint8Array(3 * width);
  const rows = new Uint8Array(3 * w * height);
  for (let y = 0; y < height; y++) {
    row(data, y * width * given, given, width, line);
    for (let i = 0; i < 3 * w; i++) rows[y * 3 * w + i] = tap(across[Math.floor(i / 3)], line, i % 3, 3);
  }
  const out = new Uint8Array(channels * w * h);
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      const [red, green, blue] = [0, 1, 2].map((c) => tap(along[y], rows, 3 * x + c, 3 * w));
      out.set(channels === 1 ? [grey(red, green, blue)] : [red, green, blue], (y * w + x) * channels);
    }
  }
  return out;
}


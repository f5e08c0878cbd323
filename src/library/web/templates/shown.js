// Cividis (Nuñez, Anderton & Renslow, 2018): brightness grows with the number.
const COLOURS = [
  [0x00, 0x22, 0x4e], [0x12, 0x35, 0x70], [0x3b, 0x49, 0x6c], [0x57, 0x5d, 0x6d], [0x70, 0x71, 0x73],
  [0x8a, 0x86, 0x78], [0xa5, 0x9c, 0x74], [0xc3, 0xb3, 0x69], [0xe1, 0xcc, 0x55], [0xfe, 0xe8, 0x38],
];

function colour(value) {
  const at = Math.min(Math.max(value, 0), 1) * (COLOURS.length - 1);
  const low = Math.min(Math.floor(at), COLOURS.length - 2);
  return [0, 1, 2].map((c) => COLOURS[low][c] * (1 - at + low) + COLOURS[low + 1][c] * (at - low));
}

/** A map's number at a pixel, linearly between the middles of its cells. */
function between({ values, height, width }, y, x, rows, columns) {
  const place = (at, side, cells) => {
    const middle = Math.min(Math.max(((at + 0.5) / side) * cells - 0.5, 0), cells - 1);
    const low = Math.min(Math.floor(middle), Math.max(cells - 2, 0));
    return [low, Math.min(low + 1, cells - 1), middle - low];
  };
  const [top, bottom, down] = place(y, rows, height);
  const [left, right, along] = place(x, columns, width);
  const row = (y) => values[y * width + left] * (1 - along) + values[y * width + right] * along;
  return row(top) * (1 - down) + row(bottom) * down;
}

function figure(caption, draw) {
  const { width, height } = about.pictures;
  // Small pictures are enlarged, so that maps are smooth over them.
  const scale = Math.ceil(160 / Math.max(width, height));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width * scale, height * scale];
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  const image = new ImageData(canvas.width, canvas.height);
  for (let y = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++) {
      const at = Math.floor(y / scale) * width + Math.floor(x / scale);
      image.data.set([...draw(at, y, x, canvas), 255], 4 * (y * canvas.width + x));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  const [whole, words] = [document.createElement("figure"), document.createElement("figcaption")];
  words.textContent = caption;
  whole.append(canvas, words);
  return whole;
}

/** Shows the picture as the network gets it, and over it the maps of classes: where it looks like them. */
function showMaps(picture, maps) {
  const { channels } = about.pictures;
  const bytes = read(picture);
  const pixel = (at) => [0, 1, 2].map((c) => bytes[at * channels + (channels === 3 ? c : 0)]);
  const figures = [figure(`${about.pictures.width} × ${about.pictures.height} pixels`, pixel)];
  // 0 is among the numbers, so that a flat map looks flat.
  let [low, high] = [0, 0];
  for (const { map } of maps) {
    for (const value of map.values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  }
  for (const { name, map } of maps) {
    figures.push(figure(name, (at, y, x, { height, width }) => {
      const [red, green, blue] = pixel(at);
      const grey = 0.299 * red + 0.587 * green + 0.114 * blue;
      const value = (between(map, y, x, height, width) - low) / (high - low || 1);
      return colour(value).map((own) => 0.7 * own + 0.3 * grey);
    }));
  }
  part("maps").replaceChildren(...figures);
  part("maps-note").textContent = maps.length ? "Bright: there the picture looks like the class." : "";
  part("seen").hidden = false;
}

start();

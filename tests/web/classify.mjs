// Prints what a built network makes of pictures, as JSON: the bits of its results, and what the script says.
//
//     node classify.mjs NAME.js WIDTHxHEIGHTxCHANNELS FILE…      (files of raw pixels, after their sizes)
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [script, ...rest] = process.argv.slice(2);
const { about, classes, load, read } = await import(pathToFileURL(script));
const network = await load();
const bits = (numbers) => Array.from(new Uint32Array(new Float32Array(numbers).buffer));
const pictures = [];
for (let i = 0; i < rest.length; i += 2) {
  const [width, height] = rest[i].split("x").map(Number);
  const picture = { width, height, data: new Uint8Array(await readFile(rest[i + 1])) };
  const prepared = network.prepare(picture);
  const result = network.run(prepared);
  const { top, probabilities } = network.classify(picture, { top: 3 });
  const map = network.map(top[0].index);
  const mean = map && map.values.reduce((a, b) => a + b, 0) / map.values.length;
  pictures.push({ bytes: Array.from(read(picture)), bits: bits(result), top, probabilities, mean });
}
const fails = (action) => {
  try {
    action();
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};
const errors = [
  fails(() => network.run(new Float32Array(3))),
  fails(() => network.run(new Float32Array(about.input.shape.reduce((a, b) => a * b)).fill(NaN))),
  fails(() => network.classify({ width: 2, height: 2, data: new Uint8Array(3) })),
];
const times = network.profile(1).length;
console.log(JSON.stringify({ classes, pictures, errors, times }));

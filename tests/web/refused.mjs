// Prints, as JSON, what a built network's script says of modules and inputs that it must refuse; null where it says nothing.
//
//     node refused.mjs NAME.js OTHER.wasm      (OTHER.wasm is of another build of the network)
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const [script, other] = process.argv.slice(2).map((path) => pathToFileURL(path));
const { about, load, read } = await import(script);
const says = async (action) => {
  try {
    await action();
    return null;
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
};
const network = await load();
const module = await readFile(new URL(`${about.name}.wasm`, script));
const { height, width } = about.pictures;
const bytes = new Uint8Array(height * width);
const picture = (own) => () => network.classify({ width, height, data: bytes, ...own });
const cases = {
  other: () => load(other),
  other_bytes: async () => load(await readFile(other)),
  other_module: async () => load(await WebAssembly.compile(await readFile(other))),
  cut: () => load(module.subarray(0, 900)),
  empty: () => load(new Uint8Array(0)),
  html: () => load(new TextEncoder().encode("<!doctype html>")),
  floats: picture({ data: new Float32Array(bytes.length) }),
  words: picture({ data: new Uint16Array(bytes.length) }),
  list: picture({ data: Array.from(bytes) }),
  half: picture({ width: width / (2 * width + 1) }),
  negative: picture({ width: -width, height: -height }),
  nothing: () => network.classify(),
  doubles: () => network.classify(new Float64Array(bytes.length)),
  doubles_run: () => network.run(new Float64Array(bytes.length)),
  read: () => read(null),
  top: () => picture({})() && network.classify({ width, height, data: bytes }, { top: -1 }),
  runs: () => network.profile(0),
  map_after_profile: () => network.profile(1) && network.map(0),
  map_beyond: () => picture({})() && network.map(about.classes.length),
  map_below: () => network.map(-1),
};
const said = {};
for (const [name, action] of Object.entries(cases)) said[name] = await says(action);
// What is right still is.
said.good = [network.classify({ width, height, data: new Uint8ClampedArray(bytes) }).top.length, network.map(0).values.length];
console.log(JSON.stringify(said));

// The network @network@, compiled by ninc: everything that @name@.wasm needs around it, without dependencies.
//
//     import { load } from "./@name@.js";
//     const network = await load();
//     const { top } = network.classify(imageData);

/** What the network is: shapes, classes, layers, and where values lie in the module's memory. */
export const about = @description@;

/** Names of the classes, in the order of the results. */
export const classes = about.classes;

const count = (shape) => shape.reduce((product, side) => product * side, 1);

/** The name of a typed array's type, also of one that another frame made, or of any other value's. */
const kind = (value) => (ArrayBuffer.isView(value) ? value[Symbol.toStringTag] : value === null ? "null" : typeof value);

/** For each place in memory of a value, the place of its number in the order that callers see. */
function order(value) {
  const strides = value.shape.map((_, i) => count(value.shape.slice(i + 1)));
  let places = Int32Array.of(0);
  for (const d of value.order) {
    const [side, before] = [value.shape[d], places];
    places = new Int32Array(before.length * side);
    for (let i = 0; i < places.length; i++) places[i] = before[Math.floor(i / side)] + (i % side) * strides[d];
  }
  return places;
}

/** A value in the module's memory. */
class Value {
  constructor(memory, value) {
    const Numbers = value.type === "uint8" ? Uint8Array : Float32Array;
    this.shape = value.shape;
    this.memory = new Numbers(memory.buffer, value.at, count(value.shape));
    this.order = order(value);
  }

  write(numbers) {
    this.order.forEach((from, to) => (this.memory[to] = numbers[from]));
  }

  read() {
    const numbers = new Float32Array(this.memory.length);
    this.order.forEach((to, from) => (numbers[to] = this.memory[from]));
    return numbers;
  }
}

/** Probabilities of the classes, from the network's result. */
function probabilities(scores) {
  const wide = Array.from(scores);
  if (about.scores === "probabilities") return wide;
  if (about.scores === "log_probabilities") return wide.map(Math.exp);
  const largest = wide.reduce((a, b) => Math.max(a, b));
  const powers = wide.map((score) => Math.exp(score - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

function finite(numbers, sentence) {
  if (!numbers.every(Number.isFinite)) throw new RangeError(sentence);
}

/** A network that is ready. `load` makes one. */
export class Network {
  #code;
  #input;
  #output;
  #maps;
  #picture;
  #workers;
  /** Do the maps in memory belong to the last input? */
  #fresh = false;

  constructor(exports, memory, workers) {
    const value = (of) => of && new Value(memory, of);
    this.#code = exports;
    this.#workers = workers;
    this.#input = value(about.input);
    this.#output = value(about.output);
    this.#maps = value(about.maps);
    this.#picture = about.pictures && { input: value(about.pictures.input), output: value(about.pictures.output) };
    exports.run_prepare(this.threads);
    exports.prepare_prepare?.(1);
  }

  /** The threads that share a run, this one counted. */
  get threads() {
    return this.#workers.length + 1;
  }

  /** Ends the threads beside this one; runs go on without them. */
  close() {
    this.#workers.forEach((worker) => worker.terminate());
    this.#workers = [];
  }

  /** The numbers that the network gets for a picture (an ImageData, or pixels of 1 to 4 channels). */
  prepare(picture) {
    const bytes = read(picture);
    // They lie as the program reads them: row by row, the channels of a pixel together.
    this.#picture.input.memory.set(bytes);
    this.#code.prepare(1);
    return this.#picture.output.read();
  }

  /** The network's result for numbers that are prepared, in the shape of `about.input`. */
  run(numbers) {
    const wanted = this.#input.memory.length;
    if (kind(numbers) !== "Float32Array") {
      throw new TypeError(`prepared numbers come in a Float32Array, not ${kind(numbers)}`);
    }
    if (numbers.length !== wanted) {
      const shape = about.input.shape.join(" x ");
      throw new TypeError(`${about.name} takes ${wanted} numbers (${shape}), not ${numbers.length}`);
    }
    finite(numbers, "the input holds a number that is not finite");
    this.#fresh = false;
    this.#input.write(numbers);
    this.#code.run(this.threads);
    const result = this.#output.read();
    finite(result, "the result is not finite: values within the network overflow");
    this.#fresh = true;
    return result;
  }

  /** The classes of a picture or of prepared numbers, the best ones first. */
  classify(input, { top = 5 } = {}) {
    if (!(top >= 0)) throw new RangeError(`top is the number of classes that are wanted, not ${top}`);
    const numbers = kind(input) === "Float32Array" ? input : this.prepare(input);
    const all = probabilities(this.run(numbers));
    const best = all.map((probability, index) => ({ index, name: classes[index] ?? String(index), probability }));
    best.sort((a, b) => b.probability - a.probability || a.index - b.index);
    return { top: best.slice(0, top), probabilities: all };
  }

  /** Where the last input looks like a class: the map whose mean is the class's score; null where there is none. */
  map(index) {
    if (!this.#maps) return null;
    const [classes, height, width] = this.#maps.shape;
    if (!this.#fresh) throw new Error("there are no maps before a run, and none after `profile`");
    if (!Number.isInteger(index) || index < 0 || index >= classes) {
      throw new RangeError(`maps have the numbers 0 to ${classes - 1}, not ${index}`);
    }
    return { height, width, values: this.#maps.read().slice(index * height * width, (index + 1) * height * width) };
  }

  /** Milliseconds that each of `about.layers` takes on one thread, the mean of `runs` runs. Maps of the last input are gone then. */
  profile(runs = 20) {
    if (!(runs >= 1)) throw new RangeError(`runs are 1 or more, not ${runs}`);
    this.#fresh = false;
    return about.layers.map((_, i) => {
      const start = performance.now();
      // One layer again and again: clocks of browsers are coarse. Its inputs may be gone, its work is the same.
      for (let run = 0; run < runs; run++) this.#code.run_launch(i);
      return (performance.now() - start) / runs;
    });
  }
}


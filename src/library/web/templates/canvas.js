/** Lets the user draw on a canvas with any pointer or the keyboard; `done` gets the picture after each stroke. */
function drawing(canvas, done) {
  // As wide and high as the network's pictures.
  const { width, height } = about.pictures;
  const scale = 280 / Math.max(width, height);
  [canvas.width, canvas.height] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
  canvas.style.width = `min(100%, ${canvas.width / 16}rem)`;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const inverted = part("inverted");
  const pen = { x: canvas.width / 2, y: canvas.height / 2, down: false };
  let stroke = false;

  function clear() {
    context.fillStyle = inverted.checked ? "white" : "black";
    context.fillRect(0, 0, canvas.width, canvas.height);
  }

  function cleared() {
    clear();
    empty();
    say("The canvas is clear.");
  }

  function line(x, y) {
    Object.assign(context, { lineWidth: Math.min(canvas.width, canvas.height) / 9, lineCap: "round", lineJoin: "round" });
    context.strokeStyle = inverted.checked ? "black" : "white";
    context.beginPath();
    context.moveTo(pen.x, pen.y);
    context.lineTo(x, y);
    context.stroke();
  }

  function move(x, y, draws) {
    if (draws) line(x, y);
    Object.assign(pen, { x, y });
  }

  const finish = () => done(context.getImageData(0, 0, canvas.width, canvas.height), "Your drawing");

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const scale = canvas.width / box.width;
    return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    stroke = true;
    move(...at(event), false);
    line(pen.x, pen.y);
  });
  canvas.addEventListener("pointermove", (event) => stroke && move(...at(event), true));
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      if (stroke) finish();
      stroke = false;
    });
  }
  canvas.addEventListener("keydown", (event) => {
    const step = Math.max(canvas.width, canvas.height) / 20;
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const within = (value, side) => Math.min(Math.max(value, 0), side);
    if (event.key in ways) {
      const [right, down] = ways[event.key];
      move(within(pen.x + right, canvas.width), within(pen.y + down, canvas.height), pen.down);
      if (pen.down) finish();
    } else if (event.key === " ") {
      pen.down = !pen.down;
      if (pen.down) line(pen.x, pen.y);
      say(pen.down ? "Pen down." : "Pen up.");
      if (!pen.down) finish();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      cleared();
    } else return;
    event.preventDefault();
  });
  part("clear").addEventListener("click", cleared);
  inverted.addEventListener("change", cleared);
  part("drawing").hidden = false;
  clear();
}


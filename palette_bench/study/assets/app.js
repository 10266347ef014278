// The rater's page: instructions, colour plates, practice, trials, breaks; every answer is acknowledged before the next.

import { expose, load, PaintClock, pixelFor } from "./exposure.js";
import { PointerSummary } from "./pointer.js";
import { Backend } from "./server.js";

const settings = JSON.parse(document.body.dataset.settings);
const at = (id) => document.getElementById(id);
const sections = [...document.querySelectorAll("main > section")];
const fill = (text, facts) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
const GAP = 24;
const AROUND = 150;
const across = { pair: 2, triple: 3, sequence: 1 }[settings.layout];

let shown = null;
let pausing = false;
let before = null;

function show(id) {
  shown = id;
  for (const section of sections) section.hidden = section.id !== id;
  document.body.classList.toggle("trial", id === "trial");
  const heading = id !== "trial" && at(id).querySelector("h1:not([hidden])");
  if (heading) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

// Resolves when one of `buttons` is pressed.
const pressed = (...buttons) => new Promise((resolve) => {
  const done = (event) => {
    buttons.forEach((button) => button.removeEventListener("click", done));
    resolve(event);
  };
  buttons.forEach((button) => button.addEventListener("click", done));
});

const goOn = async (id) => {
  show(id);
  await pressed(at(id).querySelector("[data-go]"));
};

function offline(isOffline) {
  if (isOffline && shown !== "offline") {
    before = shown;
    show("offline");
  } else if (!isOffline && shown === "offline") {
    show(before ?? "instructions");
  }
}

const pixel = () => pixelFor(
  settings.side, across, devicePixelRatio, innerWidth, innerHeight - AROUND * (innerHeight < 430 ? 0.6 : 1), GAP,
);

// Resolves when the images fit, which a rater who turns a phone or enlarges a window sees to.
function fits() {
  if (pixel() >= 1) return Promise.resolve();
  show("too-small");
  return new Promise((resolve) => {
    const check = () => {
      if (pixel() < 1) return;
      window.removeEventListener("resize", check);
      resolve();
    };
    window.addEventListener("resize", check);
  });
}

// Places images and the buttons under them on whole device pixels; returns device pixels an image pixel.
function layOut(images) {
  const each = pixel();
  const ratio = devicePixelRatio;
  const side = (settings.side * each) / ratio;
  const gap = Math.round(GAP * ratio) / ratio;
  const stage = at("stage");
  stage.style.width = `${across * side + (across - 1) * gap}px`;
  stage.style.height = `${side}px`;
  const box = stage.getBoundingClientRect();
  const [dx, dy] = [box.left, box.top].map((edge) => Math.round(edge * ratio) / ratio - edge);
  const place = { left: 0, middle: 1, right: across - 1 };
  for (const [name, image] of Object.entries(images)) {
    const column = settings.layout === "sequence" ? 0 : place[name];
    Object.assign(image.style, {
      width: `${side}px`, height: `${side}px`, left: `${dx + column * (side + gap)}px`, top: `${dy}px`,
    });
  }
  const half = settings.layout === "sequence" ? (side - gap) / 2 : side;
  const second = settings.layout === "sequence" ? half + gap : (across - 1) * (side + gap);
  for (const [id, left] of [["choose-left", 0], ["choose-right", second]]) {
    Object.assign(at(id).style, { width: `${half}px`, height: `${side}px`, left: `${dx + left}px`, top: `${dy}px` });
  }
  return each;
}

const KEYS = { KeyF: "left", ArrowLeft: "left", KeyJ: "right", ArrowRight: "right" };

// The first choice after the question; later ones, and double clicks, are not heard.
function chosen() {
  return new Promise((resolve) => {
    const done = (choice, event, input) => {
      document.removeEventListener("keydown", onKey);
      at("choose-left").removeEventListener("click", onLeft);
      at("choose-right").removeEventListener("click", onRight);
      resolve({ choice, event, input });
    };
    const onKey = (event) => {
      if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || !KEYS[event.code]) return;
      event.preventDefault();
      done(KEYS[event.code], event, "key");
    };
    const inputOf = (event) => ({ mouse: "mouse", touch: "touch", pen: "pen" })[event.pointerType] ?? "key";
    const onLeft = (event) => done("left", event, inputOf(event));
    const onRight = (event) => done("right", event, inputOf(event));
    document.addEventListener("keydown", onKey);
    at("choose-left").addEventListener("click", onLeft);
    at("choose-right").addEventListener("click", onRight);
  });
}

// The question, laid out but hidden, so that showing it costs nothing in the frame that hides the images.
function prepareQuestion() {
  const question = document.createElement("p");
  question.id = "question";
  question.className = "waiting";
  question.textContent = at("asked").dataset.question;
  question.setAttribute("elementtiming", "question");
  at("asked").replaceChildren(question);
  return question;
}

async function timedTrial(backend, step) {
  await fits();
  show("trial");
  const question = prepareQuestion();
  at("choices").hidden = true;
  at("progress").textContent = fill(at("progress").dataset[step.stage], step);
  at("cross").classList.add("shown");
  layOut({});
  const addresses = Object.fromEntries(Object.entries(step.images).map(([side, name]) => [side, backend.image(name)]));
  const { images, decodeMs } = await load(addresses, at("images"));
  const each = layOut(images);
  const showings = await backend.shelf.countShowing(step.trial);
  const clock = new PaintClock();
  const { off, ...measured } = await expose({
    images, cross: at("cross"), exposure: step.exposure, fixation: settings.fixation, gap: settings.gap,
    sequence: settings.layout === "sequence", atEnd: () => question.classList.remove("waiting"),
  });
  at("choices").hidden = false;
  // Hidden images must not come back by a look into the page.
  at("images").replaceChildren();
  at("choices").focus({ preventScroll: true });
  const pointer = new PointerSummary();
  const { choice, event, input } = await chosen();
  const responseMs = Math.max(0, event.timeStamp - off);
  at("choices").hidden = true;
  at("asked").replaceChildren();
  const times = clock.stop();
  const first = settings.layout === "sequence" ? "image-right" : "image-left";
  const hasClock = times.question > 0 && times[first] > 0;
  return {
    trial: step.trial,
    choice,
    measured: {
      ...measured,
      clock_ms: hasClock ? times.question - times[first] : null,
      pixel: each,
      pixel_ratio: devicePixelRatio,
      decode_ms: decodeMs,
      response_ms: responseMs,
      showings,
      input,
      ...pointer.stop(event),
    },
  };
}

async function plateTrial(backend, step) {
  show("plate");
  at("plate-progress").textContent = fill(at("plate-progress").dataset.text, step);
  const { images, decodeMs } = await load({ plate: backend.image(step.images.plate) }, at("plate-image"));
  images.plate.style.visibility = "visible";
  const start = performance.now();
  const event = await pressed(...document.querySelectorAll("[data-plate]"));
  at("plate-image").replaceChildren();
  return {
    trial: step.trial,
    choice: event.currentTarget?.dataset.plate ?? event.target.closest("[data-plate]").dataset.plate,
    measured: { response_ms: performance.now() - start, decode_ms: decodeMs, automated: navigator.webdriver === true },
  };
}

async function feedback(isRight) {
  at("right-answer").hidden = !isRight;
  at("wrong-answer").hidden = isRight;
  show("feedback");
  at("feedback-next").focus({ preventScroll: true });
  await pressed(at("feedback-next"));
}

async function run() {
  const backend = await Backend.open(offline);
  at("pause").addEventListener("click", () => {
    pausing = !pausing;
    at("pause").setAttribute("aria-pressed", String(pausing));
  });
  let step = await backend.start(show, pressed);
  if (["plate", "practice", "main"].includes(step.stage)) {
    show("instructions");
    await pressed(at("start"));
  }
  let stage = step.stage;
  while (["plate", "practice", "main"].includes(step.stage)) {
    if (step.stage === "main" && stage === "practice") await goOn("practice-done");
    else if (step.rest) {
      at("rest-text").textContent = fill(at("rest-text").dataset.text, { ...step, position: step.position - 1 });
      await goOn("rest");
    }
    if (pausing) {
      pausing = false;
      at("pause").setAttribute("aria-pressed", "false");
      await goOn("paused");
    }
    stage = step.stage;
    const answer = step.stage === "plate" ? await plateTrial(backend, step) : await timedTrial(backend, step);
    const said = await backend.send(answer);
    if (said.feedback !== undefined) await feedback(said.feedback);
    else if (settings.pause) await new Promise((resolve) => setTimeout(resolve, settings.pause));
    step = said.next;
  }
  backend.finish(step.stage);
}

run().catch((error) => {
  console.error(error);
  show("error");
});

// The page as a whole: which model answers, files on their way, what came of them.

import { trackCard } from "./card.js";
import { element } from "./dom.js";
import { percent } from "./text.js";

const LOOK_AGAIN_MS = 2000;

const at = (id) => document.getElementById(id);
const queue = [];
let about = null;
let taken = 0;
let working = false;
let next = null;  // The card that the next one comes before: new files are at the top, in their order.

class Fault extends Error {
  // lost: whether the next file would fare no better.
  constructor(message, lost = false) {
    super(message);
    this.lost = lost;
  }
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Fault("The server does not answer. If it was stopped, `deepmusic serve` starts it again.", true);
  }
  let answer;
  try {
    answer = await response.json();
  } catch {
    throw new Fault("The server broke off its answer.", true);
  }
  if (!response.ok) throw new Fault(answer.error, response.status === 503);
  return answer;
}

async function lookWhoAnswers() {
  try {
    about = await ask("/about");
  } catch (fault) {
    say(at("model"), fault.message);
    return;
  }
  const { model, version, endings, max_bytes: bytes } = about;
  const answering = version === null ? `No version of the model ${model} is loaded` : `Model ${model}, version ${version}`;
  say(at("model"), answering);
  say(at("forms"), `${endings.join(", ")}, up to ${bytes >> 20} MiB each. They go to this server and nowhere else.`);
  at("files").accept = endings.join(",");
  if (version === null) setTimeout(lookWhoAnswers, LOOK_AGAIN_MS);
}

// Only what is new, or a screen reader would say it again.
function say(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

function take(files) {
  if (!files.length) return;
  if (!working) {
    taken = 0;
    next = at("tracks").firstElementChild;
    at("faults").replaceChildren();
  }
  queue.push(...files);
  taken += files.length;
  if (!working) work();
}

async function work() {
  working = true;
  while (queue.length) {
    const file = queue.shift();
    showProgress(file.name);
    try {
      show(file.name, await read(file));
    } catch (fault) {
      if (!(fault instanceof Fault)) reportError(fault);
      tell(file.name, fault instanceof Fault ? fault.message : "The page cannot show it.");
      if (fault.lost && queue.length) tell(`${queue.length} more`, "not sent.");
      if (fault.lost) queue.length = 0;
    }
  }
  working = false;
  at("work").hidden = true;
  await lookWhoAnswers();
}

function showProgress(name) {
  const before = taken - queue.length - 1;
  at("work").hidden = false;
  at("doing").textContent = taken === 1 ? `Reading ${name} …` : `Reading ${name}, ${before + 1} of ${taken} …`;
  const bar = at("done");
  bar.max = taken;
  // Of a single file no one knows how far it is.
  if (taken === 1) bar.removeAttribute("value");
  else bar.value = before;
}

async function read(file) {
  if (about === null) await lookWhoAnswers();
  if (about !== null) {
    const lowered = file.name.toLowerCase();
    if (!about.endings.some((ending) => lowered.endsWith(ending)))
      throw new Fault(`The name does not end in ${about.endings.join(", ")}.`);
    if (file.size > about.max_bytes) throw new Fault(`It is larger than ${about.max_bytes >> 20} MiB.`);
  }
  let content;
  try {
    content = await file.arrayBuffer();
  } catch {
    throw new Fault("The browser cannot read it: it is gone, is a folder, or may not be read.");
  }
  return ask(`/tracks?name=${encodeURIComponent(file.name)}`, {
    method: "POST",
    headers: { "content-type": "application/octet-stream" },
    body: content,
  });
}

function show(name, answer) {
  for (const { path, track_id: id, reason } of answer.rejections) tell(id ? `${path}, ${id}` : path, sentence(reason));
  const cards = answer.tracks.map((track) => trackCard(track, name, `${answer.model} ${answer.version}`));
  for (const card of cards) {
    at("tracks").insertBefore(card.element, next);
    card.draw();
  }
  const first = answer.tracks.length + answer.rejections.length;
  if (answer.more) tell(name, `It holds more: the page shows the first ${first} tracks of a file.`);
  if (cards.length) {
    const found = cards.map((card) => `${card.title}: ${card.genre}, ${percent(card.probability)}`);
    at("news").textContent = `${found.join(". ")}.`;
  }
}

function tell(name, reason) {
  at("faults").append(element("p", {}, element("strong", {}, name), element("span", {}, reason)));
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");
}

at("drop").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", (event) => {
  take([...event.target.files]);
  event.target.value = "";
});

// The whole window takes files, or one that misses the button would replace the page.
let inside = 0;
addEventListener("dragenter", () => at("drop").classList.toggle("over", ++inside > 0));
addEventListener("dragleave", () => at("drop").classList.toggle("over", --inside > 0));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  at("drop").classList.remove("over");
  if (!event.dataTransfer.files.length) tell("Nothing to read", "What was dropped is no file.");
  take([...event.dataTransfer.files]);
});
addEventListener("focus", lookWhoAnswers);
lookWhoAnswers();

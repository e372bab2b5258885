// Keys, drafts and sending. Without this script the form still works, with a mouse and "Send".
"use strict";

const form = document.getElementById("answer");
const questions = [...form.querySelectorAll("fieldset[data-question]")];
const notes = document.getElementById("notes");
const saved = document.getElementById("saved");
const left = document.getElementById("left");
const help = form.querySelector(".help");
const reducedMotion = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

const isAnswered = (question) => question.querySelector("input:checked") !== null;
const unanswered = () => questions.filter((question) => !isAnswered(question));

// ---- which question the keys answer

let current = null;

function setCurrent(question, { scroll = true } = {}) {
  current?.classList.remove("current");
  current = question ?? null;
  current?.classList.add("current");
  if (current && scroll) {
    // The first question of an output brings its text into view too, and that of the ranking all ranks.
    const section = current.closest(".opening, .output, .closing");
    const isFirst = section.querySelector("fieldset") === current && !form.classList.contains("pair");
    (isFirst ? section : current).scrollIntoView({
      block: isFirst ? "start" : "nearest",
      behavior: reducedMotion ? "auto" : "smooth",
    });
  }
}

function step(by) {
  const place = questions.indexOf(current) + by;
  if (place >= 0 && place < questions.length) setCurrent(questions[place]);
}

function goToLetter(letter) {
  const ranking = current?.dataset.kind === "rank";
  const own = questions.filter((q) => q.dataset.letter === letter && (q.dataset.kind === "rank") === ranking);
  if (own.length) setCurrent(own.find((q) => !isAnswered(q)) ?? own[0]);
  return own.length > 0;
}

const groupOf = (question) => question.dataset.part;

// One chip a part of the page, such as an output or the ranking: how many questions each still has.
function showLeft() {
  const counts = new Map();
  for (const question of questions) {
    const answered = isAnswered(question);
    if (answered) question.classList.remove("lacks");
    counts.set(groupOf(question), (counts.get(groupOf(question)) ?? 0) + (answered ? 0 : 1));
  }
  const chips = [...counts].map(([group, count]) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = count ? "chip" : "chip complete";
    chip.dataset.group = group;
    chip.append(group, " ", count ? String(count) : "✓");
    chip.setAttribute("aria-label", `${group}: ${count ? `${count} left` : "complete"}`);
    return chip;
  });
  left.replaceChildren(...chips);
}

function goToGroup(group) {
  const own = questions.filter((question) => groupOf(question) === group);
  setCurrent(own.find((question) => !isAnswered(question)) ?? own[0]);
}

function toPromptAndBack() {
  const prompt = document.querySelector(".prompt");
  if (prompt.getBoundingClientRect().bottom > 60 && window.scrollY < 5) setCurrent(current);
  else prompt.scrollIntoView({ block: "end" });
}

function noToTheRest(letter) {
  for (const question of questions) {
    const no = question.querySelector('input[data-key="n"]');
    if (question.dataset.letter === letter && no && !isAnswered(question)) no.checked = true;
  }
  changed();
  const own = questions.filter((q) => q.dataset.letter === letter && q.dataset.kind !== "rank");
  const after = questions.indexOf(own[own.length - 1]) + 1;
  setCurrent(own.find((q) => !isAnswered(q)) ?? questions[after] ?? own[own.length - 1]);
}

// ---- drafts: sent a moment after each change, and at once when the page goes away

let timer = null;
let unsaved = false;
let leaving = false;
let saving = Promise.resolve();

const body = () => new URLSearchParams(new FormData(form));

function say(text, failed = false) {
  saved.textContent = text;
  saved.classList.toggle("failed", failed);
}

function changed(delay = 250) {
  unsaved = true;
  say("…");
  showLeft();
  clearTimeout(timer);
  timer = setTimeout(save, delay);
}

function save() {
  clearTimeout(timer);
  // One after another, so that an older draft never arrives after a newer one.
  saving = saving.then(sendDraft);
  return saving;
}

// What a refusal means for somebody who labels; null where the server did its work.
function refusal(response) {
  if (response.ok) return null;
  if (response.status === 401 || response.status === 403) {
    return "you are signed out. Sign in again in another tab; this page then goes on by itself.";
  }
  if (response.status < 500 && response.status !== 422) {
    return "this page is no longer yours to answer. Load it again.";
  }
  return "the server has a fault. Trying again…";
}

// After signing in again the form needs the new session's token, which a fresh copy of the page has.
async function renewToken() {
  const response = await fetch(window.location.href);
  if (!response.ok || response.redirected) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
  const token = fresh.querySelector('#answer input[name="form_token"]');
  if (token) form.elements.form_token.value = token.value;
}

async function post(url, headers = {}) {
  const response = await fetch(url, { method: "POST", body: body(), headers });
  if (response.status !== 401 && response.status !== 403) return response;
  await renewToken();
  return fetch(url, { method: "POST", body: body(), headers });
}

function tryAgainLater() {
  unsaved = true;
  clearTimeout(timer);
  timer = setTimeout(save, 2000);
}

async function sendDraft() {
  if (!unsaved || leaving) return;
  unsaved = false;
  try {
    const response = await post(form.dataset.draft);
    const why = refusal(response);
    if (why) {
      tryAgainLater();
      say(`Not saved: ${why}`, true);
    } else if (!unsaved) {
      say(`saved ${new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}`);
    }
  } catch {
    tryAgainLater();
    say("Not saved: the server does not answer. Trying again…", true);
  }
}

function flush() {
  if (unsaved && !leaving && navigator.sendBeacon(form.dataset.draft, body())) unsaved = false;
}

// ---- sending

let sending = false;

async function send() {
  if (sending || leaving) return;
  const lacking = unanswered();
  for (const question of questions) question.classList.toggle("lacks", lacking.includes(question));
  if (lacking.length) {
    setCurrent(lacking[0]);
    return;
  }
  sending = true;
  clearTimeout(timer);
  await saving;
  try {
    const response = await post(form.action, { Accept: "application/json" });
    const why = refusal(response);
    if (why) {
      tryAgainLater();
      say(`Not sent: ${why}`, true);
      return;
    }
    const { next } = await response.json();
    leaving = true;
    window.location.assign(next);
  } catch {
    // Kept as a draft as soon as the server is back; sending is for the labeller to say again.
    tryAgainLater();
    say("Not sent: the server does not answer. Press Enter to try again.", true);
  } finally {
    sending = false;
  }
}

// ---- keys

function answerByKey(key) {
  const option = current && [...current.querySelectorAll("input")].find((input) => input.dataset.key === key);
  if (!option) return false;
  option.checked = true;
  changed();
  step(1);
  return true;
}

function commandOf(event) {
  const key = event.key;
  if (key === "Enter") return send;
  if (key === "ArrowDown" || key === "j") return () => step(1);
  if (key === "ArrowUp" || key === "k") return () => step(-1);
  if (key === "N" && current?.dataset.letter && form.querySelector("[data-rest]")) return () => noToTheRest(current.dataset.letter);
  if (key === "?") return () => help.toggleAttribute("open");
  if (key === "Escape") return () => help.removeAttribute("open");
  if (key === "t") return () => notes.focus();
  if (key === "p") return toPromptAndBack;
  if (key === "r" && questions.some((q) => q.dataset.kind === "rank")) return () => goToGroup("ranking");
  return null;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target === notes) {
    if (event.key === "Escape") {
      notes.blur();
      event.preventDefault();
    }
    return;
  }
  // A focused button, link or fold keeps its own Enter and Space.
  if ((event.key === "Enter" || event.key === " ") && event.target.closest("button, a, summary")) return;
  if (answerByKey(event.key)) {
    event.preventDefault();
    return;
  }
  const isLetter = /^[a-i]$/.test(event.key);
  const command = commandOf(event);
  if (isLetter && goToLetter(event.key.toUpperCase())) event.preventDefault();
  else if (command) {
    event.preventDefault();
    command();
  }
});

form.addEventListener("change", (event) => {
  if (event.target.type === "radio") {
    setCurrent(event.target.closest("fieldset"), { scroll: false });
    changed();
  }
});
form.addEventListener("click", (event) => {
  const chip = event.target.closest("[data-group]");
  if (chip) goToGroup(chip.dataset.group);
  const rest = event.target.closest("[data-rest]");
  if (rest) noToTheRest(rest.dataset.rest);
});
notes.addEventListener("input", () => changed(600));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") flush();
});
window.addEventListener("pagehide", flush);
window.addEventListener("beforeunload", (event) => {
  if (unsaved && !leaving) {
    flush();
    if (unsaved) event.preventDefault();
  }
});

showLeft();
setCurrent(unanswered()[0] ?? questions[0], { scroll: questions.some(isAnswered) });

// Renders a template on a row while either is written.
"use strict";
(() => {
  const form = document.getElementById("render");
  const address = form.getAttribute("data-preview"); // form.dataset is the field of that name
  const at = (name) => document.getElementById(`preview-${name}`);
  let timer = 0, asked = 0, sent = "";

  const content = () => new URLSearchParams(new FormData(form)).toString();

  function show(made) {
    at("problem").textContent = made.problem || "";
    at("problem").hidden = !made.problem;
    at("made").hidden = made.inputs === undefined || made.failed;
    at("inputs").textContent = made.inputs ?? "";
    at("targets").textContent = made.targets ?? "";
    at("choices-part").hidden = !made.answer_choices;
    at("choices").replaceChildren(...(made.answer_choices ?? []).map((choice) => {
      const item = document.createElement("li");
      item.textContent = choice;
      return item;
    }));
  }

  async function render() {
    const body = content();
    if (body === sent) return;
    sent = body;
    const number = ++asked;
    try {
      const headers = { "content-type": "application/x-www-form-urlencoded" };
      const answer = await fetch(address, { method: "POST", body, headers });
      if (number !== asked) return;
      if (answer.ok) show(await answer.json());
      else show({ problem: answer.status === 403 ? "The studio was started again: open its new link." : `The studio answered ${answer.status}.` });
    } catch {
      if (number === asked) { show({ problem: "The studio does not answer." }); sent = ""; }
    }
  }

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(render, 250);
  });
  // A form without an address of its own only renders.
  if (!form.hasAttribute("action")) form.addEventListener("submit", (event) => { event.preventDefault(); render(); });
  else {
    const before = content();
    let leaving = false;
    form.addEventListener("submit", () => { leaving = true; });
    window.addEventListener("beforeunload", (event) => { if (!leaving && content() !== before) event.preventDefault(); });
  }
})();

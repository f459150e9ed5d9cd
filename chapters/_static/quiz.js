// Turns each quiz from "read the answer below" into "check your answer": verdicts, explanations, a score that this browser keeps.
(() => {
  const memory = {}; // used where storage is refused (a private window, a file opened from disk)
  const store = {
    get(key) {
      try {
        return JSON.parse(localStorage.getItem(key)) ?? memory[key] ?? {};
      } catch {
        return memory[key] ?? {};
      }
    },
    set(key, value) {
      memory[key] = value;
      try {
        localStorage.setItem(key, JSON.stringify(value));
        return true;
      } catch {
        return false;
      }
    },
  };

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // A number as people write it: "0,693", "−1", "1/3", "50 %".
  function number(text) {
    const plain = text.trim().replace(/[−–]/g, "-").replace(",", ".");
    const percent = plain.endsWith("%");
    const parts = plain.replace("%", "").trim().split("/");
    if (parts.length > 2 || parts.some((part) => part.trim() === "" || !Number.isFinite(Number(part)))) return null;
    const value = parts.length === 2 ? Number(parts[0]) / Number(parts[1]) : Number(parts[0]);
    return Number.isFinite(value) ? (percent ? value / 100 : value) : null;
  }

  function setUp(quiz) {
    const key = `next-token-quiz:${quiz.dataset.chapter}`;
    const forms = [...quiz.querySelectorAll(".quiz-question")];
    const above = Number(quiz.dataset.passAbove);
    const score = quiz.querySelector(".quiz-score");
    let record = store.get(key); // {question id: {first: bool, best: bool}}
    let kept = true;

    function tell() {
      const answered = forms.filter((form) => form.dataset.question in record);
      const count = (which) => answered.filter((form) => record[form.dataset.question][which]).length;
      const [total, first, best] = [forms.length, count("first"), count("best")];
      const complete = best > above * total;
      score.hidden = answered.length === 0;
      score.classList.toggle("is-complete", complete);
      score.style.setProperty("--share", best / total);
      let words = `${answered.length} of ${total} answered. Right at the first try: ${first}. Right by now: ${best}.`;
      if (complete) words += " The chapter is complete.";
      else if (answered.length === total) words += ` Complete from ${Math.floor(above * total) + 1} on: read again what was missed, then try those.`;
      if (!kept) words += " This browser stores nothing, so the score is lost when the page closes.";
      score.querySelector('[role="status"]').textContent = words;
    }

    for (const form of forms) {
      const { question, kind } = form.dataset;
      const fieldset = form.querySelector("fieldset");
      const details = form.querySelector(".quiz-answers");
      const again = form.querySelector(".quiz-again");
      const whys = [...details.querySelectorAll(".quiz-why")];
      const button = make("button", { type: "submit", class: "quiz-check" }, "Check");
      const verdict = make("p", { class: "quiz-verdict", role: "status" });
      // Each explanation moves under its option; for a number they follow the verdict.
      for (const why of whys) {
        why.hidden = true;
        const option = form.querySelector(`.quiz-option[data-option="${CSS.escape(why.dataset.option)}"]`);
        (option ?? details).after(why);
        if (option) why.id = `${option.querySelector("input").id}-why`;
      }
      details.before(make("p", { class: "quiz-actions" }, button), verdict);
      if (kind === "numeric") details.previousSibling.after(...whys);
      details.remove();
      again.hidden = true;

      const reveal = (test) => {
        for (const why of whys) {
          why.hidden = !test(why);
          const input = why.id && document.getElementById(why.id.slice(0, -4));
          if (input && !why.hidden) input.setAttribute("aria-describedby", why.id);
          if (input && why.hidden) input.removeAttribute("aria-describedby");
        }
      };
      const clear = () => {
        form.classList.remove("is-right", "is-wrong");
        verdict.textContent = "";
        again.hidden = true;
        reveal(() => false);
      };
      form.clearAnswer = () => {
        form.reset();
        clear();
        button.textContent = "Check";
      };

      form.addEventListener("submit", (event) => {
        event.preventDefault();
        let right, chosen;
        if (kind === "numeric") {
          const value = number(form.querySelector("input").value);
          if (value === null) {
            clear();
            verdict.textContent = "Please give a number, such as 0.5 or 1/2.";
            return;
          }
          const near = (target) => Math.abs(value - Number(target)) <= Number(form.dataset.tolerance) + 1e-12;
          right = near(form.dataset.answer);
          chosen = (why) => (right ? why.dataset.correct === "true" : why.dataset.option !== "" && near(why.dataset.option));
        } else {
          const ids = new Set([...form.querySelectorAll("input:checked")].map((input) => input.value));
          if (ids.size === 0) {
            clear();
            verdict.textContent = "Please choose an answer first.";
            return;
          }
          right = whys.every((why) => (why.dataset.correct === "true") === ids.has(why.dataset.option));
          chosen = (why) => right || ids.has(why.dataset.option);
        }
        clear();
        form.classList.add(right ? "is-right" : "is-wrong");
        const part = !right && kind === "multiple" && whys.every((why) => !chosen(why) || why.dataset.correct === "true");
        verdict.textContent = right ? "Right." : part ? "Not yet: what you chose is right, but something is missing." : "Not right yet.";
        reveal(chosen);
        again.hidden = right;
        button.textContent = right ? "Check" : "Check again";
        const before = record[question];
        record[question] = { first: before ? before.first : right, best: right || Boolean(before?.best) };
        kept = store.set(key, record);
        tell();
      });
      fieldset.addEventListener("input", () => form.classList.contains("is-wrong") && (form.classList.remove("is-wrong"), (verdict.textContent = "")));
    }

    score.querySelector(".quiz-reset").addEventListener("click", () => {
      record = {};
      kept = store.set(key, record);
      forms.forEach((form) => form.clearAnswer());
      tell();
      forms[0].querySelector("input").focus();
    });
    quiz.classList.add("is-live");
    tell();
  }

  document.querySelectorAll(".quiz").forEach(setUp);
})();

"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const filters = document.getElementById("filters");
  const words = document.getElementById("words");
  const shown = document.getElementById("shown");
  const nothing = document.getElementById("nothing");
  const buttons = all("[data-show]");
  const items = all("[data-status]").map((element) => ({
    element,
    statuses: element.dataset.status.split(" "),
    text: element.textContent.toLowerCase(),
  }));
  let status = "";

  const show = () => {
    const wanted = words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    for (const { element, statuses, text } of items) {
      element.hidden = !((!status || statuses.includes(status)) && wanted.every((word) => text.includes(word)));
    }
    for (const section of all("#findings > section")) {
      section.hidden = !section.querySelector("article:not([hidden])");
    }
    const articles = all("article");
    const count = articles.filter((article) => !article.hidden).length;
    shown.textContent = `${count} of ${articles.length} findings shown`;
    nothing.hidden = count > 0;
  };

  for (const button of buttons) {
    button.addEventListener("click", () => {
      status = button.dataset.show;
      for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
      show();
    });
  }
  words.addEventListener("input", show);
  filters.addEventListener("submit", (event) => event.preventDefault());

  const copied = async (code) => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      return true;
    } catch {
      getSelection().selectAllChildren(code);
      return document.execCommand("copy");
    }
  };
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copied(button.previousElementSibling.querySelector("code"));
      button.textContent = done ? "Copied" : "Selected";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }

  addEventListener("beforeprint", () => { for (const details of all("details")) details.open = true; });
  filters.hidden = false;
  show();
})();

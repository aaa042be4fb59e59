"use strict";
(() => {
  // Words for what is pointed at. Without this script the browser shows the same words from each mark's title.
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("role", "status");
  tip.hidden = true;
  document.body.append(tip);
  let pointed = null;

  const show = (mark) => {
    if (pointed) pointed.classList.remove("pointed");
    pointed = mark;
    tip.hidden = !mark;
    if (!mark) return;
    mark.classList.add("pointed");
    tip.textContent = mark.dataset.tip;
    const box = mark.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left + box.width / 2 - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 8}px`;
  };

  for (const title of document.querySelectorAll("svg.chart title")) {
    title.parentNode.dataset.tip = title.textContent;
    title.remove();
  }
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest ? event.target.closest("[data-tip]") : null;
    if (mark !== pointed) show(mark);
  });
  // words that the keyboard asked for move with their mark, which reaching a chart may have scrolled to
  const kept = () => pointed && pointed.closest("svg") === document.activeElement;
  addEventListener("scroll", () => show(kept() ? pointed : null), { passive: true });

  // Every chart is one stop of the tab key; arrows go from mark to mark.
  for (const chart of document.querySelectorAll("svg.chart")) {
    const marks = [...chart.querySelectorAll("[data-tip]")];
    if (!marks.length) continue;
    chart.setAttribute("tabindex", "0");
    let at = -1;
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") show(null);
      if (!step) return;
      event.preventDefault();
      at = at < 0 ? (step > 0 ? 0 : marks.length - 1) : (at + step + marks.length) % marks.length;
      show(marks[at]);
    });
    chart.addEventListener("blur", () => { at = -1; show(null); });
  }

  // One panel at a time, chosen by a selector; printing shows all of them.
  document.querySelectorAll("[data-choices]").forEach((group, number) => {
    const panels = [...group.children];
    const label = document.createElement("label");
    label.className = "choose";
    const select = document.createElement("select");
    select.id = `choice-${number}`;
    panels.forEach((panel, k) => select.add(new Option(panel.dataset.option, String(k))));
    select.add(new Option("all", "all"));
    const choose = () => {
      panels.forEach((panel, k) => { panel.hidden = select.value !== "all" && select.value !== String(k); });
      group.classList.toggle("single", select.value !== "all");
    };
    select.value = group.dataset.first || "0";
    select.addEventListener("change", choose);
    label.append(`${group.dataset.choices} `, select);
    group.prepend(label);
    choose();
  });

  // Printing opens what is folded, but for tables of numbers; afterwards it is as it was.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not(.numbers):not([open])")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));

  // The section that is being read is marked in the navigation.
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      const link = links.get(entry.target.id);
      if (link) link.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -70% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
})();

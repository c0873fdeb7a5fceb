// Keeps an open page current and says how old it is. Without this script the page is whole; it
// only grows old.
"use strict";
(() => {
  const place = document.getElementById("refresh");
  const lost = document.getElementById("lost");
  const seconds = Number(place.dataset.seconds);
  const said = document.createElement("span");
  const button = document.createElement("button");
  let updated = Date.now();
  let lostSince = null;
  let trouble = "";
  let paused = false;
  button.type = "button";
  place.append(said, " ", button);

  const clock = (moment) =>
    new Date(moment).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const age = () => {
    const passed = Math.max(Math.round((Date.now() - updated) / 1000), 0);
    return passed < 120 ? `${passed} s ago` : `${Math.floor(passed / 60)} min ago`;
  };
  const say = () => {
    said.textContent = `Updated ${age()}.`;
    button.textContent = paused ? "Refresh again" : "Stop refreshing";
    lost.hidden = lostSince === null;
    if (lostSince !== null) {
      const text = `${trouble} since ${clock(lostSince)}. What you see is of ${clock(updated)}.`;
      if (lost.textContent !== text) lost.textContent = text;
    }
    document.body.classList.toggle("lost", lostSince !== null);
  };

  // Only what a refresh would take from under somebody's hands holds it up.
  const inUse = () => {
    const active = document.activeElement;
    return (active instanceof HTMLInputElement && active.value !== active.defaultValue)
      || !getSelection().isCollapsed;
  };
  // What is on both pages is found again by what it is and where it stands, not by its place.
  const named = (main, selector) => {
    const seen = {};
    return new Map([...main.querySelectorAll(selector)].map((each) => {
      const names = [each.tagName, each.closest("[id]")?.id, each.getAttribute("href")];
      const key = [...names, each.getAttribute("aria-label")?.split(":")[0]].join(" ");
      seen[key] = (seen[key] ?? 0) + 1;
      return [`${key} ${seen[key]}`, each];
    }));
  };
  const STOPS = "a, button, input, summary, [tabindex]";
  const replace = (fresh) => {
    const main = document.getElementById("main");
    const next = fresh.getElementById("main");
    const opened = named(main, "details");
    for (const [key, each] of named(next, "details")) {
      each.open = opened.get(key)?.open ?? each.open;
    }
    const focused = [...named(main, STOPS)].find(([, each]) => each === document.activeElement);
    main.replaceChildren(...next.childNodes);
    if (focused) named(main, STOPS).get(focused[0])?.focus({ preventScroll: true });
    document.title = fresh.title;
    const icon = fresh.getElementById("icon");
    if (icon) document.getElementById("icon").href = icon.getAttribute("href");
    document.querySelector("footer p").textContent = fresh.querySelector("footer p").textContent;
  };
  const lose = (what) => {
    lostSince ??= Date.now();
    trouble = what;
  };
  const refresh = async () => {
    if (paused || document.hidden) return;
    const answer = await fetch(location.href, {
      cache: "no-store",
      signal: AbortSignal.timeout(15_000),
    }).catch(() => null);
    const text = answer && answer.ok ? await answer.text().catch(() => null) : null;
    if (text === null) {
      lose(answer ? `The page answers ${answer.status}` : "Connection lost");
    } else {
      lostSince = null;
      if (!inUse()) {
        replace(new DOMParser().parseFromString(text, "text/html"));
        updated = Date.now();
      }
    }
    say();
  };

  button.addEventListener("click", () => {
    paused = !paused;
    say();
    refresh();
  });
  document.addEventListener("visibilitychange", refresh);
  // One tab stop for each chart; from there the arrow keys lead from point to point.
  document.addEventListener("keydown", (event) => {
    const point = event.target.closest?.(".point");
    const points = point ? [...point.parentElement.children] : [];
    const here = points.indexOf(point);
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: points.length - 1 };
    const next = points[to[event.key]];
    if (!next) return;
    event.preventDefault();
    point.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  say();
  setInterval(say, 1000);
  setInterval(refresh, seconds * 1000);
})();

// Keeps an open page current. Without this script the page is whole; it only grows old.
"use strict";
(() => {
  const place = document.getElementById("refresh");
  const seconds = Number(place.dataset.seconds);
  const often = seconds === 60 ? "every minute" : `every ${seconds} seconds`;
  let paused = false;
  const button = document.createElement("button");
  button.type = "button";
  const say = () => {
    button.textContent = paused ? `Refresh ${often}` : "Stop refreshing";
  };
  button.addEventListener("click", () => {
    paused = !paused;
    say();
  });
  say();
  place.append(`Refreshes ${often}. `, button);

  const inUse = () => {
    const main = document.getElementById("main");
    return main.contains(document.activeElement) || main.matches(":hover .point:hover") || !getSelection().isCollapsed;
  };
  const refresh = async () => {
    if (paused || document.hidden || inUse()) return;
    const answer = await fetch(location.href, { cache: "no-store" }).catch(() => null);
    if (!answer || !answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const opened = [...document.querySelectorAll("main details")].map((each) => each.open);
    const main = fresh.getElementById("main");
    main.querySelectorAll("details").forEach((each, n) => {
      if (opened[n] !== undefined) each.open = opened[n];
    });
    document.getElementById("main").replaceChildren(...main.childNodes);
    const moment = document.querySelector("footer p");
    moment.textContent = fresh.querySelector("footer p").textContent;
  };
  setInterval(refresh, seconds * 1000);
})();

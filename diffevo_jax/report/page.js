"use strict";

(() => {
  const page = JSON.parse(document.getElementById("data").textContent);
  const made = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Charts: the values where the mouse or the arrow keys are.

  const nearest = (places, at) => {
    let found = -1;
    places.forEach((place, n) => {
      if (place === null) return;
      if (found < 0 || Math.abs(place - at) < Math.abs(places[found] - at)) found = n;
    });
    return found;
  };

  const readable = (figure, chart) => {
    const area = figure.querySelector(".area");
    const cursor = area.querySelector(".cursor");
    const reading = area.querySelector(".reading");
    const places = [...new Set(chart.curves.flatMap((curve) => curve.at))]
      .filter((place) => place !== null)
      .sort((a, b) => a - b);
    let at = -1;

    const show = (number) => {
      at = Math.max(0, Math.min(places.length - 1, number));
      const place = places[at];
      const rows = chart.curves
        .map((curve) => [curve, nearest(curve.at, place)])
        .filter(([curve, n]) => n >= 0 && Math.abs(curve.at[n] - place) < 25);
      const [first, n] = rows.find(([curve, n]) => curve.at[n] === place) || rows[0];
      reading.replaceChildren(made("div", "", `${chart.xLabel} ${first.x[n]}`));
      rows.forEach(([curve, n]) => {
        const row = made("div");
        row.append(
          made("i", `c${curve.color}`),
          made("span", "", curve.label),
          made("b", "", curve.values[n]),
        );
        reading.append(row);
      });
      cursor.style.left = `${place / 10}%`;
      const onRight = place > 500;
      reading.style.left = onRight ? "auto" : `calc(${place / 10}% + 0.6rem)`;
      reading.style.right = onRight ? `calc(${100 - place / 10}% + 0.6rem)` : "auto";
      cursor.hidden = reading.hidden = false;
    };
    const hide = () => {
      cursor.hidden = reading.hidden = true;
    };

    area.addEventListener("pointermove", (event) => {
      const box = area.getBoundingClientRect();
      show(nearest(places, (1000 * (event.clientX - box.left)) / box.width));
    });
    area.addEventListener("pointerleave", hide);
    area.addEventListener("blur", hide);
    area.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -places.length, End: places.length };
      if (event.key === "Escape") hide();
      if (!(event.key in steps)) return;
      event.preventDefault();
      show(reading.hidden && at < 0 ? 0 : at + steps[event.key]);
    });
  };

  document.querySelectorAll(".chart").forEach((figure, n) => readable(figure, page.charts[n]));

  // Films: a frame is a generation.

  const playable = (figure, film) => {
    const dots = [...figure.querySelectorAll(".dot:not(.best)")];
    const best = figure.querySelector(".dot.best");
    const bars = [...figure.querySelectorAll(".bars rect")];
    const slider = figure.querySelector("input");
    const output = figure.querySelector("output");
    const button = figure.querySelector(".play");
    const most = figure.querySelector(".above");
    const last = film.captions.length - 1;
    let timer = 0;

    const put = (dot, x, y) => {
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", y);
    };
    const show = (frame) => {
      const points = film.points[frame];
      dots.forEach((dot, n) => put(dot, points[2 * n], points[2 * n + 1]));
      if (best) put(best, film.best[2 * frame], film.best[2 * frame + 1]);
      bars.forEach((bar, n) => {
        const height = (1000 * film.counts[frame][n]) / film.most[frame];
        bar.setAttribute("y", 1000 - height);
        bar.setAttribute("height", height);
      });
      if (most) most.textContent = `individuals, up to ${film.most[frame].toLocaleString("en")}`;
      slider.value = frame;
      output.textContent = film.captions[frame];
      slider.setAttribute("aria-valuetext", film.captions[frame]);
    };
    const pause = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
      figure.classList.remove("playing");
    };
    const step = () => {
      if (Number(slider.value) >= last) pause();
      else show(Number(slider.value) + 1);
    };

    button.addEventListener("click", () => {
      if (timer) return pause();
      if (Number(slider.value) >= last) show(0);
      button.textContent = "Pause";
      figure.classList.add("playing");
      timer = setInterval(step, 180);
    });
    slider.addEventListener("input", () => {
      pause();
      show(Number(slider.value));
    });
    show(last);
  };

  document.querySelectorAll(".film").forEach((figure, n) => playable(figure, page.films[n]));

  // Tables: a click on a column sorts by it, and another one the other way round. What has
  // no value stays at the end.

  const value = (cell) => {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.classList.contains("number") ? null : cell.textContent;
  };
  const compared = (a, b) => {
    if (typeof a === "string") return a.localeCompare(b, undefined, { numeric: true });
    return a - b;
  };

  document.querySelectorAll(".sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.querySelector("button").addEventListener("click", () => {
        const isUp = head.getAttribute("aria-sort") === "ascending";
        const sign = isUp ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", isUp ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].sort((first, second) => {
          const [a, b] = [value(first.cells[column]), value(second.cells[column])];
          if (a === null || b === null) return (a === null) - (b === null);
          return sign * compared(a, b);
        });
        body.append(...rows);
      });
    });
  });

  // Commands.

  const copied = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = made("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  };

  document.querySelectorAll(".copy").forEach((button) => {
    button.addEventListener("click", async () => {
      const done = await copied(button.parentElement.querySelector("code").textContent);
      button.textContent = done ? "Copied" : "Not copied";
      setTimeout(() => {
        button.textContent = "Copy";
      }, 2000);
    });
  });

  // Paper shows everything.

  addEventListener("beforeprint", () => {
    document.querySelectorAll("details").forEach((details) => {
      details.open = true;
    });
  });
})();

// Makes interactive figures out of their static pictures: fetches the book's own copy of Vega when one comes near the screen.
(() => {
  const figures = [...document.querySelectorAll(".course-chart")];
  let vega;
  const load = () =>
    (vega ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = COURSE_VEGA;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    }));

  async function hydrate(figure) {
    const live = figure.querySelector(".course-chart-live");
    const spec = JSON.parse(figure.querySelector(".course-chart-spec").textContent);
    try {
      await load();
      live.hidden = false;
      await vegaEmbed(live, spec, { renderer: "svg", actions: false, tooltip: { theme: "custom" } });
      // The picture inside is for the eyes: the figure's label says it in words, and the controls speak for themselves.
      const picture = live.querySelector("svg");
      picture.setAttribute("aria-hidden", "true");
      picture.removeAttribute("role");
      figure.querySelector(".course-chart-static").hidden = true;
      figure.classList.add("is-live");
    } catch (error) {
      live.hidden = true; // the static picture stays
      console.error("The figure stays static:", error);
    }
  }

  const seen = new IntersectionObserver(
    (entries) => entries.filter((e) => e.isIntersecting).forEach((e) => (seen.unobserve(e.target), hydrate(e.target))),
    { rootMargin: "600px" },
  );
  figures.forEach((figure) => seen.observe(figure));
})();

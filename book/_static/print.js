// On paper a page is light, its solutions are open and its pictures there.
(() => {
  const root = document.documentElement;
  let theme = "";
  let opened = [];

  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    opened = [...document.querySelectorAll("details:not([open])")];
    opened.forEach((box) => { box.open = true; });
    document.querySelectorAll("img[loading=lazy]").forEach((image) => {
      image.loading = "eager";
    });
  });

  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    opened.forEach((box) => { box.open = false; });
  });
})();

// Joins the site's pages into the one that is open, for `tools/pdf.py`.
const book = {
  /** The headings that the contents list. */
  listed: ":is(h1, h2):not(.unlisted)",

  /** Sections that each chapter has. */
  usual: ["Recap", "Exercises", "What comes next", "References"],

  /** The pages in the order of the navigation: {url, part} for each. */
  pages() {
    const found = [{ url: location.href, part: "" }];
    let part = "";
    document.querySelectorAll(".bd-links p.caption, .bd-links a.internal")
      .forEach((entry) => {
        if (entry.matches("p")) part = entry.textContent.trim();
        else if (!found.some(({ url }) => url === entry.href)) {
          found.push({ url: entry.href, part });
        }
      });
    return found.filter(({ url }) => !url.includes("#"));
  },

  /** A name for a page that can stand in an anchor. */
  slug: (url) => url.split("/").slice(-2).join("-").replace(".html", ""),

  /** Turn a page's links into links within the book; none leads to a file. */
  relink(article, page, urls) {
    article.querySelectorAll("[id]:not(svg [id])").forEach((element) => {
      element.id = `${book.slug(page)}--${element.id}`;
    });
    article.querySelectorAll("a[href]").forEach((link) => {
      const url = new URL(link.getAttribute("href"), page);
      const file = url.href.split("#")[0];
      if (urls.has(file)) {
        link.href = `#${book.slug(file)}${url.hash.replace("#", "--")}`;
      } else if (url.protocol === "file:") link.removeAttribute("href");
    });
    article.querySelectorAll("img").forEach((image) => {
      image.src = new URL(image.getAttribute("src"), page);
      image.loading = "eager";
    });
  },

  /** One page's article, ready to stand among the others. */
  chapter({ url, part, html }, urls) {
    const page = new DOMParser().parseFromString(html, "text/html");
    const article = page.querySelector("article.bd-article");
    article.querySelectorAll("script, noscript, .headerlink")
      .forEach((element) => element.remove());
    article.querySelectorAll("details").forEach((box) => { box.open = true; });
    book.relink(article, url, urls);
    const chapter = document.createElement("div");
    chapter.id = book.slug(url);
    chapter.className = "chapter";
    chapter.dataset.part = part;
    chapter.append(...article.childNodes);
    chapter.querySelectorAll("h2").forEach((heading) => {
      if (book.usual.includes(heading.textContent)) {
        heading.classList.add("unlisted");
      }
    });
    return chapter;
  },

  /** Give each chapter a running title: a page style of its own. */
  runningTitles(chapters) {
    const style = document.createElement("style");
    style.textContent = chapters.map((chapter, number) => {
      chapter.style.page = `chapter-${number}`;
      const title = chapter.querySelector("h1").textContent;
      return `@page chapter-${number} { @top-right {
        content: ${JSON.stringify(title)}; font: 9pt sans-serif; color: #666;
      } }`;
    }).join("\n");
    document.head.append(style);
  },

  /** The contents: a line with room for a number for each heading in it. */
  contents(chapters) {
    const nav = document.createElement("nav");
    nav.className = "book-contents";
    nav.append(Object.assign(document.createElement("h1"),
      { textContent: "Contents" }));
    let part = "";
    chapters.forEach((chapter) => {
      if (chapter.dataset.part !== part) {
        part = chapter.dataset.part;
        nav.append(Object.assign(document.createElement("p"),
          { className: "part", textContent: part }));
      }
      chapter.querySelectorAll(book.listed).forEach((heading) => {
        const line = document.createElement("a");
        line.className = `${heading.tagName.toLowerCase()}-line`;
        line.href = `#${heading.closest("[id]").id}`;
        line.append(Object.assign(document.createElement("span"),
          { textContent: heading.textContent }));
        line.append(document.createElement("b"));
        nav.append(line);
      });
    });
    return nav;
  },

  /** Join the pages; resolves when fonts and pictures are there. */
  async join(pages) {
    const urls = new Set(pages.map(({ url }) => url));
    const title = document.querySelector(".bd-article h1").firstChild;
    const cover = document.createElement("div");
    cover.className = "book-cover";
    cover.append(Object.assign(document.createElement("p"),
      { textContent: title.textContent }));
    document.title = title.textContent;
    const chapters = pages.map((page) => book.chapter(page, urls));
    const article = document.querySelector("article.bd-article");
    const main = document.querySelector("main");
    main.querySelector(".bd-content").replaceChildren(article.parentElement);
    article.parentElement.replaceChildren(article);
    document.body.replaceChildren(main);
    article.replaceChildren(cover, book.contents(chapters), ...chapters);
    book.runningTitles(chapters);
    await document.fonts.ready;
    await Promise.all([...article.querySelectorAll("img")]
      .map((image) => image.decode()));
  },

  /** Write the pages' numbers into the contents; `numbers` has all headings'. */
  number(numbers) {
    const headings = [...document.querySelectorAll(
      ".bd-article :is(h1, h2, h3, h4, h5, h6)")];
    if (headings.length !== numbers.length) {
      throw new Error(`${headings.length} headings, ${numbers.length} numbers`);
    }
    const lines = document.querySelectorAll(".book-contents b");
    headings.filter((heading) => heading.matches(`.chapter ${book.listed}`))
      .forEach((heading, line) => {
        lines[line].textContent = numbers[headings.indexOf(heading)];
      });
  },
};

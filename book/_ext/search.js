// Sphinx adds this to its language_data.js: how a query is understood.

// Words of a question that name no subject.
const fillers = new Set([
  "a", "an", "can", "did", "do", "does", "how", "i", "is", "it", "my",
  "should", "the", "to", "vs", "we", "what", "when", "where", "which", "why",
  "you",
]);

/**
 * Split a query into the words to look for.
 * @param {string} query what the reader typed
 * @returns {string[]} its words without fillers, unless nothing else is left
 */
function splitQuery(query) {
  const words = query.split(/[^\p{Letter}\p{Number}_]+/gu).filter(Boolean);
  const named = words.filter((word) => !fillers.has(word.toLowerCase()));
  return named.length ? named : words;
}

// A page from the file system may not read another one for its summary.
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// A formula's MathML repeats what it shows: a summary has it once.
document.addEventListener("DOMContentLoaded", () => {
  const { htmlToText } = Search;
  Search.htmlToText = (html, ...more) => htmlToText(html.replaceAll(
    /<span class="katex-mathml">.*?<\/math><\/span>/gs, ""), ...more);
});

/**
 * Raise a page by how much of the query one of its titles holds.
 * @param {Array} result page, title, anchor, description, score and file
 * @returns {number} the score to sort by
 */
Scorer.score = ([page, , , , score]) => {
  const query = new URLSearchParams(location.search).get("q").toLowerCase();
  const words = splitQuery(query);
  const { alltitles, docnames } = Search._index;
  const held = Object.entries(alltitles)
    .filter(([, places]) => places.some(([file]) => docnames[file] === page))
    .map(([title]) => splitQuery(title.toLowerCase()))
    .map((title) => words.filter((word) => title.includes(word)).length);
  return score + 20 * Math.max(0, ...held) / words.length;
};

// A command as one line and as the words it is made of, by the shell's own quoting; nothing is expanded.

const PLAIN = /^[\w@%+=:,./-]+$/;

/** Read a line; null where a quote is still open. */
export function splitWords(line: string): string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let at = 0; at < line.length; at += 1) {
    const letter = line[at] ?? "";
    if (quote === "'" ? letter !== "'" : quote === '"' && !/["\\]/.test(letter)) {
      word = (word ?? "") + letter;
    } else if (letter === quote) {
      quote = "";
    } else if (quote === "" && (letter === "'" || letter === '"')) {
      quote = letter;
      word ??= "";
    } else if (letter === "\\") {
      at += 1;
      if (at >= line.length) return null;
      const next = line[at] ?? "";
      word = (word ?? "") + (quote === '"' && !/["\\$`]/.test(next) ? letter + next : next);
    } else if (/\s/.test(letter)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? "") + letter;
    }
  }
  if (quote !== "") return null;
  return word === null ? words : [...words, word];
}

export function joinWords(words: readonly string[]): string {
  return words
    .map((word) => (PLAIN.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");
}

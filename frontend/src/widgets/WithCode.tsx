// A sentence in which `words between backticks` are code.

export function WithCode({ text }: { text: string }) {
  return text
    .split("`")
    .map((piece, index) => (index % 2 ? <code key={index}>{piece}</code> : piece));
}

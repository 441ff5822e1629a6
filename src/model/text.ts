/** Text functions that take linear time, whatever the text is. */

/** `text` without the characters `mark` at its end. */
export function withoutTrailing(text: string, mark: string): string {
  let end = text.length;
  while (end > 0 && text[end - 1] === mark) end--;
  return text.slice(0, end);
}

/** `1 layer`, `2 layers`: for messages. */
export const count = (number: number, word: string, plural = `${word}s`): string =>
  `${number} ${number === 1 ? word : plural}`

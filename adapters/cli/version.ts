/** What is printed on the box: this package's version. `npm run check` compares the labels. */
export const VERSION = "0.1.0";

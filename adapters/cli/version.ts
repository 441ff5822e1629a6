/** This package's version. `npm run check` compares it with the package files. */
export const VERSION = "0.1.0";

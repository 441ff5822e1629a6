/** Peer of the start: prints one line. */
console.log("{}");

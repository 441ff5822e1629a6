/**
 * How tests run: the same on Node, Bun and Deno, one forked process a test file.
 *
 * Takes the file names on the command line, or every `test/**\/*_test.ts`.
 */
import { defineConfig, type ViteUserConfig } from "vitest/config";

const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/**/*_test.ts"],
    setupFiles: ["test/support/clean_environment.ts"],
    pool: "forks",
    // Two at a time: the tests start real processes, which want processors of their own.
    maxWorkers: 2,
    // Far more than anything takes: on a busy machine, a process may need seconds to start.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 30_000,
    expect: { poll: { timeout: 30_000 } },
  },
});

export default config;

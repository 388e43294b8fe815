import { defineConfig } from "vitest/config";

// The browser is one process, and this machine may have one core.
export default defineConfig({ test: { fileParallelism: false, testTimeout: 30_000, hookTimeout: 60_000 } });

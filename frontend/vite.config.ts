import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The studio that `npm run dev` talks to.
const studio = process.env.ATHANOR_STUDIO ?? "http://127.0.0.1:8600";

export default defineConfig(({ command }) => ({
  base: command === "build" ? "/static/dashboard/" : "/",
  plugins: [react()],
  build: {
    outDir: "../studio/static/dashboard",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    chunkSizeWarningLimit: 1200,
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/_allauth", "/v1", "/signin/", "/ws", "/healthz"].map((path) => [
        path,
        { target: studio, ws: path === "/ws", changeOrigin: false },
      ]),
    ),
  },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
}));

// Fails when what the first screen loads is more than its budget, gzipped. Reads Vite's manifest.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BUDGET_KB = 350;
const FIRST_SCREENS = [
  ["src/pages/shell/Shell.tsx", "src/pages/home/HomePage.tsx"],
  ["src/pages/signin/SignInPage.tsx"],
];
const dist = new URL("../../studio/static/dashboard/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL(".vite/manifest.json", dist), "utf8"));

function filesOf(key, seen = new Set()) {
  const chunk = manifest[key];
  if (!chunk) throw new Error(`${key} is not in the manifest: build first, or mend the list here`);
  for (const file of [chunk.file, ...(chunk.css ?? [])]) seen.add(file);
  for (const next of chunk.imports ?? []) if (!seen.has(manifest[next].file)) filesOf(next, seen);
  return seen;
}

const size = (file) => gzipSync(readFileSync(new URL(file, dist))).length;
let worst = 0;
for (const pages of FIRST_SCREENS) {
  // One language is fetched with it; Chinese is the larger.
  const files = filesOf("src/i18n/zh/index.ts", filesOf("index.html"));
  for (const page of pages) filesOf(page, files);
  const kb = [...files].reduce((sum, file) => sum + size(file), 0) / 1000;
  worst = Math.max(worst, kb);
  console.log(`${pages.join(" with ")}: ${kb.toFixed(0)} kB gzip in ${files.size} files`);
}
if (worst > BUDGET_KB) {
  console.error(`first screen: ${worst.toFixed(0)} kB gzip, over the budget of ${BUDGET_KB} kB`);
  process.exit(1);
}

"use strict";
// code-server in a machine that is nobody's yet: reads and compiles what is heavy, opens nothing,
// and waits for its environment as JSON on its standard input. From there on it does what
// code-server's own entry.js does in its inner process; who keeps it going is athanor-machine.
const fs = require("node:fs");

const ROOT = "/opt/code-server";
process.env.CODE_SERVER_PARENT_PID = String(process.pid); // or server-main.js would begin at once

function hearEnvironment() {
  const told = JSON.parse(fs.readFileSync(0, "utf8"));
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, told, { CODE_SERVER_PARENT_PID: String(process.pid) });
  process.chdir(told.HOME);
}

async function run() {
  const cli = require(`${ROOT}/out/node/cli`);
  const { runCodeServer } = require(`${ROOT}/out/node/main`);
  const { wrapper } = require(`${ROOT}/out/node/wrapper`);
  const code = await import(`${ROOT}/lib/vscode/out/server-main.js`);
  await code.loadCodeWithNls();
  hearEnvironment();
  const given = cli.parse(process.argv.slice(2));
  const args = await cli.setDefaults(given, await cli.readConfigFile(given.config));
  wrapper.preventExit();
  const server = await runCodeServer(args);
  wrapper.onDispose(() => server.dispose());
}

run().catch((error) => {
  console.error(error);
  process.exit(1);
});

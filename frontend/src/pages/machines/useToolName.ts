// What people call a tool: VS Code for `vscode`; a port is its number.

import { useWords } from "../../i18n";

export function useToolName(): (name: string) => string {
  const { text } = useWords();
  const words = text.machines;
  return (name) =>
    words.tool[name] ?? (/^[0-9]+$/.test(name) ? words.openPort(Number(name)) : name);
}

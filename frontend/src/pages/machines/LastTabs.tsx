// What a person had open at a machine, offered again: with its start in one click, or while it runs.

import { Button } from "antd";
import { useState } from "react";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useMachineDeeds } from "./useMachineDeeds";
import { useToolName } from "./useToolName";

/** Where a tool's page waits until it answers, and goes on by itself. */
export const waitingPath = (machine: Machine, name: string) =>
  `/machines/${machine.key}/open/${name}`;

/** Open a waiting page for each, within the click; return those that the browser held back. */
export function openAll(machine: Machine, names: string[]): string[] {
  return names.filter((name) => {
    const tab = window.open(waitingPath(machine, name), "_blank");
    if (tab) tab.opener = null;
    return tab === null;
  });
}

export function LastTabs({ machine }: { machine: Machine }) {
  const { text, format } = useWords();
  const words = text.machines.tabs;
  const toolName = useToolName();
  const deeds = useMachineDeeds(machine);
  const [held, setHeld] = useState<string[]>([]);
  const names = machine.last_tabs.map((tab) => tab.name);
  const offered = held.length > 0 ? held : names;
  if (offered.length === 0 || machine.status === "stopping" || machine.status === "deleting") {
    return null;
  }
  const list = format.list(offered.map(toolName));
  const isStopped = machine.status === "stopped";
  const open = () => {
    setHeld(openAll(machine, offered));
    if (isStopped) void deeds.start();
  };
  return (
    <section className="panel">
      <h2>{words.title}</h2>
      <p className="muted">{held.length > 0 ? words.held(list) : words.text(list)}</p>
      <div className="machine-tools">
        <Button type={isStopped ? "primary" : "default"} loading={deeds.isBusy} onClick={open}>
          {isStopped ? words.startAndOpen : words.open}
        </Button>
        {offered.length > 1 &&
          !isStopped &&
          offered.map((name) => (
            <Button
              key={name}
              href={waitingPath(machine, name)}
              target="_blank"
              rel="noopener"
              onClick={() => setHeld(held.filter((one) => one !== name))}
            >
              {toolName(name)}
            </Button>
          ))}
      </div>
    </section>
  );
}

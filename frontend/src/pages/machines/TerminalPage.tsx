// The terminals of a machine over the whole page: several shells, each kept in the machine when the page goes.

import { useQuery } from "@tanstack/react-query";
import { App, Button, Tabs } from "antd";
import { useRef, useState } from "react";
import { Link, useParams } from "react-router";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { useUrlState } from "../useUrlState";
import { MachineState } from "./MachinesPage";
import { Terminal } from "./Terminal";
import { useMachineDeeds } from "./useMachineDeeds";

const FIRST = "web-1";
const MOST = 16;
const byNumber = (one: string, other: string) => Number(one.slice(4)) - Number(other.slice(4));

function nextShell(shells: string[]): string {
  let number = 1;
  while (shells.includes(`web-${number}`)) number += 1;
  return `web-${number}`;
}

function Shells({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines.terminal;
  const { modal } = App.useApp();
  const killers = useRef(new Map<string, () => void>());
  const [read, write] = useUrlState();
  const asked = read("shell") || FIRST;
  const [shells, setShells] = useState<string[]>([asked]);
  const [ended, setEnded] = useState<string[]>([]);
  const show = (shell: string) => write({ shell: shell === FIRST ? "" : shell });
  const add = (names: string[]) =>
    setShells((old) => [...new Set([...old, ...names])].sort(byNumber).slice(0, MOST));
  const open = () => {
    const shell = nextShell([...shells, ...ended]);
    add([shell]);
    show(shell);
  };
  const close = (shell: string) => {
    killers.current.get(shell)?.();
    const left = shells.filter((one) => one !== shell);
    const rest = left.length > 0 ? left : [nextShell([shell])];
    setShells(rest);
    if (shell === asked) show(rest[rest.length - 1] ?? FIRST);
  };
  const ask = (shell: string) => {
    const number = Number(shell.slice(4));
    if (ended.includes(shell)) close(shell);
    else
      modal.confirm({
        title: words.killTitle(number),
        content: words.killText,
        okText: words.kill,
        okButtonProps: { danger: true },
        onOk: () => close(shell),
      });
  };
  return (
    <div className="terminals">
      {/* Beside the tabs, not in them: a list of tabs may hold nothing but tabs (ARIA). */}
      <div className="machine-tools terminal-deeds">
        <Button size="small" disabled={shells.length >= MOST} onClick={open}>
          {words.add}
        </Button>
        {shells.length > 1 && (
          <Button size="small" onClick={() => ask(asked)}>
            {words.kill}
          </Button>
        )}
      </div>
      <Tabs
        type="card"
        size="small"
        activeKey={asked}
        onChange={show}
        items={shells.map((shell) => ({
          key: shell,
          label: words.tab(Number(shell.slice(4))),
          forceRender: true,
          children: (
            <Terminal
              machine={machine}
              shell={shell}
              isShown={shell === asked}
              onKept={(names) => {
                setEnded((old) => old.filter((one) => one !== shell)); // it goes again
                add(names);
              }}
              onKiller={(kill) => killers.current.set(shell, kill)}
              onEnd={() => setEnded((old) => [...old, shell])}
            />
          ),
        }))}
      />
    </div>
  );
}

function NotRunning({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const deeds = useMachineDeeds(machine);
  return (
    <div className="panel">
      <MachineState machine={machine} />
      {machine.status === "stopped" && (
        <p>
          <Button type="primary" loading={deeds.isBusy} onClick={() => void deeds.start()}>
            {text.machines.start}
          </Button>
        </p>
      )}
    </div>
  );
}

export function TerminalPage() {
  const { key = "" } = useParams();
  const { text } = useWords();
  const machine = useQuery(machineQueries.one(key));
  const [wasRunning, setWasRunning] = useState(false);
  if (machine.data?.status === "running" && !wasRunning) setWasRunning(true);
  return (
    <div className="page wide">
      <Loaded query={machine}>
        {(found) => (
          <>
            <PageHead
              title={text.machines.terminal.of(found.name)}
              actions={<Link to={`/machines/${found.key}`}>{text.machines.terminal.back}</Link>}
            />
            {found.status !== "running" && <NotRunning machine={found} />}
            {wasRunning && <Shells machine={found} />}
          </>
        )}
      </Loaded>
    </div>
  );
}

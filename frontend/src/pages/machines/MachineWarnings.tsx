// On every page: a machine of one's own that stops within ten minutes, and again within two.

import { useQuery } from "@tanstack/react-query";
import { Alert } from "antd";
import type { ReactNode } from "react";
import { Link } from "react-router";
import { machineQueries, secondsIdle, secondsLeft } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { ExtendButton } from "./ExtendButton";
import { KeepButton } from "./IdleLine";
import { LAST_S, WARN_S } from "./TimeLeft";
import { useNow } from "./useNow";

interface Props {
  /** After how many seconds a machine stops for this reason; null where it does not. */
  left: (machine: Machine, now: number) => number | null;
  say: (name: string, time: string) => string;
  /** The button that has it go on. */
  mend: (machine: Machine) => ReactNode;
}

function StopWarnings({ left: secondsTo, say, mend }: Props) {
  const { format } = useWords();
  const machines = useQuery(machineQueries.list());
  const now = useNow(5000);
  const ending = (machines.data ?? []).flatMap((machine) => {
    const left = secondsTo(machine, now);
    return left !== null && left <= WARN_S ? [{ machine, left }] : [];
  });
  return ending.map(({ machine, left }) => (
    <Alert
      key={machine.key}
      banner
      type={left <= LAST_S ? "error" : "warning"}
      title={
        <Link to={`/machines/${machine.key}`}>{say(machine.name, format.duration(left))}</Link>
      }
      action={mend(machine)}
    />
  ));
}

export function MachineWarnings() {
  const { text } = useWords();
  const words = text.machines;
  return (
    <>
      <StopWarnings
        left={secondsLeft}
        say={words.soon}
        mend={(machine) => <ExtendButton machine={machine} size="small" />}
      />
      <StopWarnings
        left={secondsIdle}
        say={words.idle.soon}
        mend={(machine) => <KeepButton machine={machine} size="small" />}
      />
    </>
  );
}

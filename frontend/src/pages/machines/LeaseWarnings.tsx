// On every page: a machine of one's own that stops within ten minutes, and again within two.

import { useQuery } from "@tanstack/react-query";
import { Alert } from "antd";
import { Link } from "react-router";
import { machineQueries, secondsLeft } from "../../api/machineQueries";
import { useWords } from "../../i18n";
import { ExtendButton } from "./ExtendButton";
import { LAST_S, WARN_S } from "./TimeLeft";
import { useNow } from "./useNow";

export function LeaseWarnings() {
  const { text, format } = useWords();
  const machines = useQuery(machineQueries.list());
  const now = useNow(5000);
  const ending = (machines.data ?? []).flatMap((machine) => {
    const left = secondsLeft(machine, now);
    return left !== null && left <= WARN_S ? [{ machine, left }] : [];
  });
  return ending.map(({ machine, left }) => (
    <Alert
      key={machine.key}
      banner
      type={left <= LAST_S ? "error" : "warning"}
      title={
        <Link to={`/machines/${machine.key}`}>
          {text.machines.soon(machine.name, format.duration(left))}
        </Link>
      }
      action={<ExtendButton machine={machine} size="small" />}
    />
  ));
}

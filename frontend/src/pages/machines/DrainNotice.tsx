// Warns an owner that the node of a machine is being emptied: when, why, and what is kept.

import { Alert } from "antd";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";

export function DrainNotice({ machine }: { machine: Machine }) {
  const { text, format } = useWords();
  const words = text.machines;
  const { drain, status, reason } = machine;
  if (!drain) return null;
  const isOver = status === "stopped";
  if (isOver && reason !== "node_drained") return null;
  return (
    <Alert
      type="warning"
      showIcon
      role="alert"
      style={{ marginBottom: 16 }}
      title={isOver ? words.reason.node_drained : words.drain(format.relative(drain.at))}
      description={
        <>
          {!isOver && <div>{words.drainText}</div>}
          {drain.reason && <div>{words.drainReason(drain.reason)}</div>}
        </>
      }
    />
  );
}

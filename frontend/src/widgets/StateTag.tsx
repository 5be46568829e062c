// A state as a word and a shape; the colour only helps.

import {
  CheckCircleFilled,
  ClockCircleOutlined,
  CloseCircleFilled,
  LoadingOutlined,
  PauseCircleOutlined,
  StopOutlined,
} from "./icons";
import type { ReactNode } from "react";

const LOOKS: Record<string, { icon: ReactNode; tone: string }> = {
  queued: { icon: <ClockCircleOutlined />, tone: "quiet" },
  starting: { icon: <LoadingOutlined />, tone: "live" },
  running: { icon: <LoadingOutlined />, tone: "live" },
  stopping: { icon: <LoadingOutlined />, tone: "quiet" },
  succeeded: { icon: <CheckCircleFilled />, tone: "good" },
  ready: { icon: <CheckCircleFilled />, tone: "good" },
  online: { icon: <CheckCircleFilled />, tone: "good" },
  failed: { icon: <CloseCircleFilled />, tone: "bad" },
  offline: { icon: <CloseCircleFilled />, tone: "bad" },
  stopped: { icon: <StopOutlined />, tone: "quiet" },
  none: { icon: <PauseCircleOutlined />, tone: "quiet" },
};

export function StateTag({ state, word }: { state: string; word: string }) {
  const look = LOOKS[state] ?? LOOKS.none;
  return (
    <span className={`state ${look?.tone ?? ""}`} data-state={state}>
      <span aria-hidden="true">{look?.icon}</span>
      {word}
    </span>
  );
}

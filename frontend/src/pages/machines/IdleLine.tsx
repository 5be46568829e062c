// Whether a machine is used, in one sentence, and the button that keeps it going when it is not.

import { Alert, Button, Dropdown, Tooltip, type ButtonProps } from "antd";
import type { Machine, MachineIdle } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useMachineDeeds } from "./useMachineDeeds";

const HOURS = [1, 2, 4, 8, 24];
const HOUR_S = 3600;

export function KeepButton({ machine, size }: { machine: Machine; size?: ButtonProps["size"] }) {
  const { text } = useWords();
  const words = text.machines.idle;
  const { keep, isBusy } = useMachineDeeds(machine);
  const hours = HOURS.map(String).map((one) => ({ key: one, label: words.keepFor(one) }));
  const no = machine.idle?.kept_until ? [{ key: "0", label: words.keepNo }] : [];
  return (
    <Dropdown
      trigger={["click"]}
      menu={{
        items: [...hours, ...no],
        onClick: ({ key }) => void keep(Number(key) * HOUR_S),
      }}
    >
      <Button size={size} loading={isBusy}>
        {words.keep}
      </Button>
    </Dropdown>
  );
}

function useVerdict() {
  const { text, format } = useWords();
  const words = text.machines.idle;
  return (idle: MachineIdle): string => {
    if (idle.state === "off") return words.off;
    if (idle.kept_until) return words.keptText(format.clock(idle.kept_until));
    if (idle.state === "active") return words.activeText(words.sign[idle.sign] ?? idle.sign);
    return words.idleText(format.clock(idle.active_at), format.clock(idle.stops_at ?? 0));
  };
}

export function IdleLine({ machine }: { machine: Machine }) {
  const { text, format } = useWords();
  const words = text.machines.idle;
  const say = useVerdict();
  const { idle } = machine;
  if (!idle) return null;
  if (machine.status === "stopped")
    return (
      <Alert
        type="info"
        showIcon
        title={words.stoppedText(format.clock(idle.active_at))}
        style={{ marginBottom: 16 }}
      />
    );
  if (machine.status !== "running") return null;
  return (
    <div className="idle-line" role="status">
      <Tooltip title={idle.idle_s > 0 ? words.help(format.duration(idle.idle_s)) : undefined}>
        <span>{say(idle)}</span>
      </Tooltip>
      {idle.state !== "off" && <KeepButton machine={machine} size="small" />}
    </div>
  );
}

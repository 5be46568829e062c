// More time for a machine that goes: how much, and what it costs.

import { Button, Dropdown, type ButtonProps } from "antd";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { ClockCircleOutlined } from "../../widgets/icons";
import { useMachineDeeds } from "./useMachineDeeds";

const HOURS = [1, 2, 4, 8, 24];
const HOUR_S = 3600;

export function ExtendButton({ machine, size }: { machine: Machine; size?: ButtonProps["size"] }) {
  const { text, format } = useWords();
  const words = text.machines;
  const { extend, isBusy } = useMachineDeeds(machine);
  const rate = machine.flavor.price_mpoints_per_hour;
  return (
    <Dropdown
      trigger={["click"]}
      menu={{
        items: HOURS.map((hours) => ({
          key: String(hours),
          label: `${words.extendBy(String(hours))} · ${text.points(format.points(rate * hours))}`,
        })),
        onClick: ({ key }) => void extend(Number(key) * HOUR_S),
      }}
    >
      <Button size={size} icon={<ClockCircleOutlined />} loading={isBusy}>
        {words.extend}
      </Button>
    </Dropdown>
  );
}

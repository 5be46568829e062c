// Each GPU of a node as a bar: who has how much of it, and what is free.

import { Tag, Tooltip } from "antd";
import type { Node, NodeDevice, NodeHolding } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";

export function DeviceBars({ node }: { node: Node }) {
  const { text } = useWords();
  if (node.devices.length === 0) return <p className="muted small">{text.nodes.cpuOnly}</p>;
  return node.devices.map((device) => (
    <DeviceBar
      key={device.index}
      device={device}
      held={node.holdings.filter(
        (each) => each.is_going && each.is_exclusive && each.device_indexes.includes(device.index),
      )}
    />
  ));
}

function DeviceBar({ device, held }: { device: NodeDevice; held: readonly NodeHolding[] }) {
  const { text, format } = useWords();
  const words = text.nodes;
  const free = Math.max(0, 100 - held.reduce((sum, each) => sum + each.device_percent, 0));
  const told = [
    ...held.map((each) => words.taken(each.name, each.owner, each.device_percent)),
    words.freePercent(free),
  ].join(" · ");
  return (
    <div className="device">
      <div className="device-name">
        <b>{words.gpu(device.index)}</b>
        <span>
          {device.name} · {format.bytes(device.memory_bytes)}
        </span>
        {device.is_mock && (
          <Tooltip title={words.mockHelp}>
            <Tag tabIndex={0}>{words.mock}</Tag>
          </Tooltip>
        )}
        {device.uuid && (
          <span className="mono muted small break">
            {device.uuid} <CopyButton text={device.uuid} size="small" />
          </span>
        )}
      </div>
      <div
        className="device-bar"
        role="img"
        aria-label={words.barSaid(words.gpu(device.index), told)}
      >
        {held.map((each) => (
          <span
            key={each.kind + each.id}
            className={each.kind === "machine" ? "machine" : "run"}
            style={{ width: `${each.device_percent}%` }}
          />
        ))}
      </div>
      <div className="muted small num">{told}</div>
    </div>
  );
}

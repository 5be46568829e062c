// What a machine uses of what is its own: this moment as bars, and its last hour or day as curves.

import { useQuery } from "@tanstack/react-query";
import { Segmented } from "antd";
import { useState } from "react";
import { machineQueries } from "../../api/machineQueries";
import type { Machine, MachineUsage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { UsageCharts, type Span } from "./UsageCharts";

interface GaugeProps {
  label: string;
  /** None is what cannot be told now. */
  ratio?: number | null;
  shown: string;
  help?: string;
}

function Gauge({ label, ratio, shown, help }: GaugeProps) {
  const percent = Math.round(100 * Math.min(1, Math.max(0, ratio ?? 0)));
  return (
    <div className="usage-gauge" title={help}>
      <div className="muted small">{label}</div>
      <div className="num">{shown}</div>
      {ratio !== undefined && (
        <div
          className="meter"
          role="meter"
          aria-label={label}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={percent}
          aria-valuetext={shown}
        >
          <div style={{ width: `${percent}%` }} />
        </div>
      )}
    </div>
  );
}

const divide = (used: number | null | undefined, limit: number | null | undefined) =>
  used == null || !limit ? null : used / limit;

function Gauges({ usage }: { usage: MachineUsage }) {
  const { text, format } = useWords();
  const words = text.machines.usage;
  const { live } = usage;
  const bytes = (size: number | null | undefined) => (size == null ? "–" : format.bytes(size));
  const speed = (rate: number | null | undefined) =>
    rate == null ? "–" : words.perSecond(format.bytes(Math.round(rate)));
  const cores = live?.cores == null ? "–" : format.number(live.cores, 1);
  return (
    <div className="usage-gauges">
      <Gauge
        label={words.cpu}
        ratio={divide(live?.cores, usage.cores_limit)}
        shown={words.cores(cores, format.number(usage.cores_limit, 1))}
      />
      <Gauge
        label={words.memory}
        ratio={divide(live?.memory_bytes, usage.memory_limit_bytes)}
        shown={words.of(bytes(live?.memory_bytes), bytes(usage.memory_limit_bytes))}
      />
      <Devices usage={usage} />
      <Gauge
        label={words.home}
        ratio={divide(usage.home_used_bytes, usage.home_quota_bytes)}
        shown={words.of(bytes(usage.home_used_bytes), bytes(usage.home_quota_bytes))}
      />
      <Gauge label={words.layer} shown={bytes(live?.layer_bytes)} help={words.layerHelp} />
      <div className="usage-gauge">
        <div className="muted small">{words.scratch}</div>
        <div className="num">{bytes(live?.scratch_bytes)}</div>
        {live?.disk_free_bytes != null && (
          <div className="muted small">{words.free(bytes(live.disk_free_bytes))}</div>
        )}
        <div className="muted small">{words.scratchHelp}</div>
      </div>
      <Gauge label={words.received} shown={speed(live?.received_bytes_per_s)} />
      <Gauge label={words.sent} shown={speed(live?.sent_bytes_per_s)} />
    </div>
  );
}

function Devices({ usage }: { usage: MachineUsage }) {
  const { text, format } = useWords();
  const words = text.machines.usage;
  return (usage.live?.devices ?? []).map((device, index) => {
    const label = words.gpuNumber(index);
    if (device.is_mock) return <Gauge key={device.uuid} label={label} shown={words.mock} />;
    const busy = device.busy_ratio;
    const { memory_bytes: used, memory_limit_bytes: limit } = device;
    const share = usage.device_percent !== null && usage.device_percent < 100;
    return (
      <div key={device.uuid} className="usage-gauge">
        <Gauge
          label={label}
          ratio={busy}
          shown={busy === null ? "–" : words.busy(format.percent(busy))}
        />
        <Gauge
          label={words.gpuMemory}
          ratio={divide(used, limit)}
          shown={words.of(
            used === null ? "–" : format.bytes(used),
            limit === null ? "–" : format.bytes(limit),
          )}
          help={share ? words.share(usage.device_percent ?? 100) : undefined}
        />
      </div>
    );
  });
}

function Now({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines.usage;
  const live = useQuery(machineQueries.live(machine.key));
  return (
    <Loaded query={live}>
      {(usage) => (
        <>
          {!usage.live && (
            <p className="muted" role="status">
              {words.silent}
            </p>
          )}
          <Gauges usage={usage} />
        </>
      )}
    </Loaded>
  );
}

export function UsagePanel({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines.usage;
  const day = useQuery(machineQueries.day(machine.key));
  const [span, setSpan] = useState<Span>("hour");
  const isRunning = machine.status === "running";
  const hasPast = (day.data?.minutes.at.length ?? 0) > 0;
  if (!isRunning && !hasPast) return null;
  return (
    <section className="panel">
      <h2>{words.title}</h2>
      <p className="muted">{words.text}</p>
      {isRunning && <Now machine={machine} />}
      <Segmented
        aria-label={words.span}
        value={span}
        onChange={setSpan}
        options={[
          { value: "hour", label: words.hour },
          { value: "day", label: words.day },
        ]}
      />
      {day.data && <UsageCharts usage={day.data} span={span} />}
    </section>
  );
}

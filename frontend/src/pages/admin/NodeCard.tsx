// One node: whether it speaks, what it has and how much of that is given out, and what is on it.

import { Alert, Progress } from "antd";
import type { Node } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { WithCode } from "../../widgets/WithCode";
import { useNow } from "../machines/useNow";
import { DeviceBars } from "./DeviceBars";
import { countHeld, NodeActions } from "./NodeActions";
import { NodeHoldings } from "./NodeHoldings";
import { sayUnlimited } from "./unlimited";

export function NodeCard({ node, mayAdminister }: { node: Node; mayAdminister: boolean }) {
  return (
    <section className="panel node-card" aria-label={node.name}>
      <header className="node-head">
        <h2 className="mono">{node.name}</h2>
        <NodeStates node={node} />
        {mayAdminister && (
          <div className="actions">
            <NodeActions node={node} />
          </div>
        )}
      </header>
      <DrainBanner node={node} />
      <Meters node={node} />
      <NodeFacts node={node} />
      <DeviceBars node={node} />
      <NodeHoldings node={node} />
    </section>
  );
}

function NodeStates({ node }: { node: Node }) {
  const { text } = useWords();
  const words = text.nodes;
  const silent = node.is_lost ? words.lost : words.offline;
  return (
    <>
      <StateTag
        state={node.is_online ? "online" : "offline"}
        word={node.is_online ? words.online : silent}
      />
      {node.drain ? (
        <StateTag
          state={node.drain.is_done ? "none" : "stopping"}
          word={node.drain.is_done ? words.drained : words.draining}
        />
      ) : (
        node.is_cordoned && <StateTag state="none" word={words.cordoned} />
      )}
    </>
  );
}

function DrainBanner({ node }: { node: Node }) {
  const { text, format } = useWords();
  const words = text.nodes;
  const now = useNow();
  const { drain } = node;
  if (!drain) return null;
  const { runs, machines } = countHeld(node);
  const isDue = Date.parse(drain.at) <= now;
  return (
    <Alert
      type={drain.is_done ? "success" : "warning"}
      showIcon
      style={{ marginBottom: 14 }}
      title={drain.is_done ? words.drainDone : words.drainLeft(machines, runs)}
      description={
        <>
          {!isDue && <div>{words.drainedAt(format.relative(drain.at))}</div>}
          {!drain.is_done && (
            <div>{drain.stops_runs ? words.drainRunsStop : words.drainRunsStay}</div>
          )}
          {drain.reason && <div className="muted">{drain.reason}</div>}
        </>
      }
    />
  );
}

function Meters({ node }: { node: Node }) {
  const { text, format } = useWords();
  const words = text.nodes;
  const going = node.holdings.filter((held) => held.is_going);
  const cores = going.reduce((sum, held) => sum + (held.is_exclusive ? held.cores : 0), 0);
  const memory = going.reduce((sum, held) => sum + held.memory_bytes, 0);
  const disk = node.disk_bytes - node.disk_free_bytes;
  const bytes = (used: number, most: number) => words.of(format.bytes(used), format.bytes(most));
  return (
    <div className="node-meters">
      <Meter
        name={words.cores}
        value={cores}
        most={node.cores}
        said={words.of(String(cores), String(node.cores))}
      />
      <Meter
        name={words.memory}
        value={memory}
        most={node.memory_bytes}
        said={bytes(memory, node.memory_bytes)}
      />
      {node.disk_bytes > 0 ? (
        <Meter
          name={words.disk}
          value={disk}
          most={node.disk_bytes}
          said={bytes(disk, node.disk_bytes)}
        />
      ) : (
        <Meter
          name={words.disk}
          value={0}
          most={1}
          said={words.free(format.bytes(node.disk_free_bytes))}
        />
      )}
      {node.cache_limit_bytes > 0 && (
        <Meter
          name={words.cache}
          value={node.cache_bytes}
          most={node.cache_limit_bytes}
          said={bytes(node.cache_bytes, node.cache_limit_bytes)}
        />
      )}
    </div>
  );
}

function Meter({
  name,
  value,
  most,
  said,
}: {
  name: string;
  value: number;
  most: number;
  said: string;
}) {
  return (
    <div>
      <div className="muted small">{name}</div>
      <Progress
        percent={most > 0 ? Math.min(100, (100 * value) / most) : 0}
        showInfo={false}
        size="small"
        status="normal"
        aria-label={`${name}: ${said}`}
      />
      <div className="small num">{said}</div>
    </div>
  );
}

function NodeFacts({ node }: { node: Node }) {
  const { text, language } = useWords();
  const words = text.nodes;
  const { engine } = node;
  const version = engine?.is_fresh ? engine.version : "";
  const problems = [
    engine && sayTold(language, engine.problem, engine.problem_told),
    sayTold(language, node.runtime_problem, node.runtime_problem_told),
    sayTold(language, node.runtime_notice, node.runtime_notice_told),
  ].filter((problem) => problem);
  return (
    <>
      <div className="node-facts small">
        <span>
          <span className="muted">{words.docker}</span>{" "}
          {version || (engine ? words.dockerSilent : words.noDocker)}
        </span>
        <span>
          <span className="muted">{words.finetunes}</span>{" "}
          {node.runtime === "docker" ? words.inContainers : words.asProcess}
        </span>
        {engine?.relay && (
          <span>
            <span className="muted">{words.relay}</span>{" "}
            <span className="mono">{engine.relay}</span>
          </span>
        )}
        <span>
          <span className="muted">{words.version}</span>{" "}
          <span className="mono">{node.version || "-"}</span>
        </span>
        <span>
          <span className="muted">{words.seen}</span>{" "}
          {node.last_seen_at ? <RelativeTime iso={node.last_seen_at} /> : text.never}
        </span>
      </div>
      {[...new Set(problems)].map((problem) => (
        <Alert
          key={problem}
          type="warning"
          showIcon
          style={{ marginTop: 12 }}
          title={<WithCode text={problem ?? ""} />}
        />
      ))}
      {sayUnlimited(engine, language).map((notice) => (
        <Alert key={notice} type="warning" showIcon style={{ marginTop: 12 }} title={notice} />
      ))}
    </>
  );
}

// The advisor: memory, time and points before anything is spent, and the mend of whatever stands in the way.

import { CheckCircleFilled } from "../../widgets/icons";
import { Alert, Button, Tooltip } from "antd";
import type { Estimate, Refusal } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Figure } from "../../widgets/Figure";
import { useSaying, useTrainingWords } from "./words";

interface Props {
  estimate: Estimate | undefined;
  onMend: (refusal: Refusal) => void;
  /** A script may take its time limit; nobody knows what it will need. */
  isScript: boolean;
}

export function Advisor({ estimate, onMend, isScript }: Props) {
  const { text, format } = useWords();
  const words = text.launch.advisor;
  const training = useTrainingWords();
  if (!estimate) return <p className="muted">{isScript ? words.waitingScript : words.waiting}</p>;
  const { duration_s, num_steps, num_tokens, cost_mpoints, hold_mpoints } = estimate;
  const basis = training.basis[estimate.duration_basis ?? ""]?.(estimate.duration_num_runs);
  return (
    <div className="stack" data-testid="advisor">
      <MemoryBar estimate={estimate} />
      {duration_s !== null && (
        <Figure
          label={words.time}
          value={words.about(format.duration(duration_s))}
          note={
            <>
              {words.steps(format.number(num_steps ?? 0), format.compact(num_tokens ?? 0))}
              {basis && <div>{basis}</div>}
            </>
          }
        />
      )}
      {cost_mpoints !== null && (
        <Figure
          label={words.cost}
          value={
            isScript
              ? words.atMost(format.points(cost_mpoints))
              : words.about(format.points(cost_mpoints))
          }
          note={
            <>
              {words.hold(format.points(hold_mpoints ?? 0))}{" "}
              {words.balance(format.points(estimate.available_mpoints))}
            </>
          }
        />
      )}
      {estimate.ok && (
        <span className="state good">
          <CheckCircleFilled /> {isScript ? words.ready : words.fits}
        </span>
      )}
      {estimate.refusals.map((refusal) => (
        <Objection
          key={refusal.code + refusal.field}
          refusal={refusal}
          tone="error"
          onMend={onMend}
        />
      ))}
      {estimate.warnings.map((refusal) => (
        <Objection
          key={refusal.code + refusal.field}
          refusal={refusal}
          tone="warning"
          onMend={onMend}
        />
      ))}
    </div>
  );
}

function MemoryBar({ estimate }: { estimate: Estimate }) {
  const { text, format } = useWords();
  const words = text.launch.advisor;
  const { peak_memory_bytes: peak, flavor_memory_bytes: all } = estimate;
  if (peak === null) return null;
  const ratio = all ? peak / all : 0;
  const parts = Object.entries(estimate.memory_parts)
    .sort(([, a], [, b]) => b - a)
    .map(([name, bytes]) => `${words.parts[name] ?? name}: ${format.bytes(bytes)}`);
  const shown = all ? words.memoryOf(format.bytes(peak), format.bytes(all)) : format.bytes(peak);
  return (
    <div>
      <Figure label={words.memory} value={shown} />
      {all ? (
        <Tooltip
          title={parts.map((part) => (
            <div key={part}>{part}</div>
          ))}
        >
          <div
            className={ratio > 1 ? "meter over" : "meter"}
            role="meter"
            tabIndex={0}
            aria-label={words.memory}
            aria-valuemin={0}
            aria-valuemax={all}
            aria-valuenow={Math.min(peak, all)}
            aria-valuetext={shown}
          >
            <div style={{ width: `${Math.min(100, ratio * 100)}%` }} />
          </div>
        </Tooltip>
      ) : null}
    </div>
  );
}

interface ObjectionProps {
  refusal: Refusal;
  tone: "error" | "warning";
  onMend: (refusal: Refusal) => void;
}

function Objection({ refusal, tone, onMend }: ObjectionProps) {
  const { say, sayMend } = useSaying();
  const { mend } = refusal;
  return (
    <Alert
      type={tone}
      showIcon
      title={
        <>
          {say(refusal)}
          {mend && (
            <div style={{ marginTop: 8 }}>
              <Button size="small" onClick={() => onMend(refusal)}>
                {sayMend(mend)}
              </Button>
            </div>
          )}
        </>
      }
    />
  );
}

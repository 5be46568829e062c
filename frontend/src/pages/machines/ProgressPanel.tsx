// How a start goes, part by part with the time of each, until the machine's tools answer.

import { Steps } from "antd";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { useToolName } from "./useToolName";

type Step = { name: string; at: string | null; title: string };

function useSteps(machine: Machine): Step[] {
  const { text } = useWords();
  const toolName = useToolName();
  const words = text.machines.step;
  const { progress } = machine;
  const first = progress.doors[0];
  const steps: Step[] = [
    { name: "placed", at: progress.placed_at, title: words.placed },
    { name: "created", at: progress.created_at, title: words.created },
    { name: "started", at: progress.started_at, title: words.started },
  ];
  if (first) {
    steps.push({ name: "ready", at: first.ready_at, title: words.ready(toolName(first.name)) });
  }
  return steps;
}

export function isComingUp(machine: Machine): boolean {
  if (machine.status === "queued" || machine.status === "starting") return true;
  return machine.status === "running" && !machine.progress.is_usable;
}

export function ProgressPanel({ machine }: { machine: Machine }) {
  const { text, format, language } = useWords();
  const words = text.machines;
  const steps = useSteps(machine);
  if (!isComingUp(machine)) return null;
  const begun = Date.parse(machine.progress.asked_at);
  const done = steps.findIndex((step) => step.at === null);
  const after = (at: string | null) =>
    at === null ? undefined : words.after(format.duration((Date.parse(at) - begun) / 1000));
  return (
    <section className="panel">
      <h2>{words.progress}</h2>
      <Steps
        current={done < 0 ? steps.length : done}
        responsive
        size="small"
        items={steps.map((step) => ({ title: step.title, content: after(step.at) }))}
      />
      <p className="muted" role="status" style={{ marginTop: 12, marginBottom: 0 }}>
        {machine.queue_position !== null && <>{words.placeIs(machine.queue_position)} </>}
        {machine.queue_position !== null && machine.wait_s !== null && machine.wait_s > 0 && (
          <>{words.wait(format.duration(machine.wait_s))} </>
        )}
        {sayTold(language, machine.message, machine.told)}
      </p>
    </section>
  );
}

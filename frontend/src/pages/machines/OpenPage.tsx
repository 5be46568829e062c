// A tab that waits for a tool of a machine: it shows how the start goes, and goes on when the tool answers.

import { useQuery } from "@tanstack/react-query";
import { Button } from "antd";
import { useEffect, useRef, useState } from "react";
import { useNavigate, useParams } from "react-router";
import { post } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Fault } from "../../widgets/Fault";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { MachineState } from "./MachinesPage";
import { ProgressPanel } from "./ProgressPanel";
import { useMachineDeeds } from "./useMachineDeeds";
import { useToolName } from "./useToolName";

const TERMINAL = "terminal";

/** The port to go on to; null while nothing answers there. A port that is no tool's is tried at once. */
function findWay(machine: Machine, tool: string): number | null {
  if (machine.status !== "running") return null;
  const door = machine.progress.doors.find((one) => one.name === tool);
  if (door) return door.ready_at === null ? null : door.port;
  return /^[0-9]{1,5}$/.test(tool) ? Number(tool) : null;
}

function Waiting({ machine, tool }: { machine: Machine; tool: string }) {
  const { text } = useWords();
  const words = text.machines.waiting;
  const navigate = useNavigate();
  const deeds = useMachineDeeds(machine);
  const [error, setError] = useState<unknown>(null);
  const isGone = useRef(false);
  const port = findWay(machine, tool);
  useEffect(() => {
    if (port === null || isGone.current) return;
    isGone.current = true;
    if (tool === TERMINAL) {
      void navigate(`/machines/${machine.key}/terminal`, { replace: true });
      return;
    }
    post<{ url: string }>(`/api/machines/${machine.key}/enter/`, { port }).then(
      ({ url }) => window.location.replace(url),
      setError,
    );
  }, [port, tool, machine.key, navigate]);
  return (
    <div className="stack">
      {error !== null && <Fault error={error} />}
      <ProgressPanel machine={machine} />
      {(machine.status === "stopped" || machine.status === "stopping") && (
        <section className="panel">
          <MachineState machine={machine} />
          <p className="muted">{words.stopped}</p>
          {machine.status === "stopped" && (
            <Button type="primary" loading={deeds.isBusy} onClick={() => void deeds.start()}>
              {text.machines.start}
            </Button>
          )}
        </section>
      )}
      <p>
        <LinkButton to={`/machines/${machine.key}`}>{words.back}</LinkButton>
      </p>
    </div>
  );
}

export function OpenPage() {
  const { key = "", tool = "" } = useParams();
  const { text } = useWords();
  const words = text.machines.waiting;
  const toolName = useToolName();
  const machine = useQuery(machineQueries.one(key));
  return (
    <div className="page" style={{ maxWidth: 760 }}>
      <PageHead title={words.title(toolName(tool))} lead={words.text} />
      <Loaded query={machine}>{(found) => <Waiting machine={found} tool={tool} />}</Loaded>
    </div>
  );
}

// One machine: how it is, what it opens, how it is reached, and what it costs.

import { useQuery } from "@tanstack/react-query";
import { Alert, Button } from "antd";
import { useParams } from "react-router";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor, sayTold } from "../../i18n/told";
import { Facts } from "../../widgets/Facts";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { RelativeTime } from "../../widgets/RelativeTime";
import { DrainNotice } from "./DrainNotice";
import { EngineBanner } from "./EngineBanner";
import { ExtendButton } from "./ExtendButton";
import { LastTabs } from "./LastTabs";
import { IdleLine } from "./IdleLine";
import { MachineState } from "./MachinesPage";
import { MoreMenu } from "./MoreMenu";
import { PortsPanel } from "./PortsPanel";
import { ProgressPanel } from "./ProgressPanel";
import { SavingNote } from "./SavingNote";
import { SshPanel } from "./SshPanel";
import { TimeLeft } from "./TimeLeft";
import { ToolButtons } from "./ToolButtons";
import { UsagePanel } from "./UsagePanel";
import { useMachineDeeds } from "./useMachineDeeds";
import { useDisks } from "./useDisks";

function Actions({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines;
  const deeds = useMachineDeeds(machine);
  const goes = machine.status !== "stopped" && machine.status !== "deleting";
  return (
    <>
      {goes && machine.status !== "stopping" && <ExtendButton machine={machine} />}
      {goes ? (
        <Button disabled={machine.status === "stopping"} onClick={deeds.stop}>
          {words.stop}
        </Button>
      ) : (
        <Button
          type="primary"
          disabled={machine.status === "deleting"}
          loading={deeds.isBusy}
          onClick={() => void deeds.start()}
        >
          {words.start}
        </Button>
      )}
      <MoreMenu machine={machine} />
    </>
  );
}

function Tools({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines;
  return (
    <section className="panel">
      <h2>{words.open}</h2>
      <ToolButtons machine={machine} />
      <p className="muted" style={{ marginTop: 12, marginBottom: 0 }}>
        {machine.status === "running" ? words.openText : words.notYet}
      </p>
    </section>
  );
}

function KeyFacts({ machine }: { machine: Machine }) {
  const { text, format, language } = useWords();
  const names = text.machines.facts;
  const { lease, flavor } = machine;
  const sayDisks = useDisks();
  return (
    <section className="panel">
      <Facts
        facts={[
          [text.machines.col.status, <MachineState key="state" machine={machine} />],
          [names.since, <RelativeTime key="since" iso={machine.status_since} />],
          [text.machines.col.left, <TimeLeft key="left" machine={machine} />],
          [names.image, machine.image.title],
          [names.flavor, sayFlavor(language, flavor.title)],
          [names.disks, sayDisks(flavor)],
          [names.node, machine.node],
          [names.price, text.pointsPerHour(format.points(flavor.price_mpoints_per_hour))],
          [names.cost, lease && format.points(lease.cost_mpoints)],
          [names.held, lease?.is_open ? format.points(lease.held_mpoints) : null],
        ]}
      />
    </section>
  );
}

export function MachinePage() {
  const { key = "" } = useParams();
  const { text, language } = useWords();
  const machine = useQuery(machineQueries.one(key));
  return (
    <div className="page">
      <Loaded query={machine}>
        {(found) => (
          <>
            <PageHead
              title={found.name}
              lead={text.machines.title}
              actions={<Actions machine={found} />}
            />
            {found.status !== "running" && found.status !== "stopped" && <EngineBanner />}
            {found.status === "running" && found.message && (
              <Alert
                type="warning"
                showIcon
                title={sayTold(language, found.message, found.told)}
                style={{ marginBottom: 16 }}
              />
            )}
            <DrainNotice machine={found} />
            <IdleLine machine={found} />
            <div className="machine-page">
              <div className="stack">
                <SavingNote machine={found} />
                <ProgressPanel machine={found} />
                <LastTabs machine={found} />
                <Tools machine={found} />
                <UsagePanel machine={found} />
                <SshPanel machine={found} />
                <PortsPanel machine={found} />
              </div>
              <KeyFacts machine={found} />
            </div>
          </>
        )}
      </Loaded>
    </div>
  );
}

// A person's dev machines: how each is, what it opens, and how long it still goes.

import { Button, type TableColumnsType } from "antd";
import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor, sayTold } from "../../i18n/told";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { PlusOutlined } from "../../widgets/icons";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { StateTag } from "../../widgets/StateTag";
import { EngineBanner } from "./EngineBanner";
import { ExtendButton } from "./ExtendButton";
import { SavedImages } from "./SavedImages";
import { TimeLeft } from "./TimeLeft";
import { ToolButtons } from "./ToolButtons";
import { useIsNarrow } from "./useIsNarrow";
import { useMachineDeeds } from "./useMachineDeeds";

export function MachineState({ machine }: { machine: Machine }) {
  const { text, language } = useWords();
  const words = text.machines;
  const message = sayTold(language, machine.message, machine.told);
  // Of a start that failed only the message says why.
  const why = machine.reason === "start_failed" && message ? message : words.reason[machine.reason];
  const told =
    machine.queue_position !== null ? words.place(machine.queue_position) : (why ?? message);
  const state = machine.status === "running" ? "online" : machine.status;
  return (
    <>
      <StateTag state={state} word={words.status[machine.status] ?? machine.status} />
      {told && <div className="muted small">{told}</div>}
    </>
  );
}

function RowActions({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines;
  const deeds = useMachineDeeds(machine);
  const isStopped = machine.status === "stopped";
  return (
    <div className="machine-tools stacked">
      {machine.status === "running" && <ExtendButton machine={machine} size="small" />}
      {isStopped ? (
        <Button
          size="small"
          type="primary"
          loading={deeds.isBusy}
          onClick={() => void deeds.start()}
        >
          {words.start}
        </Button>
      ) : (
        <Button
          size="small"
          disabled={machine.status === "stopping" || machine.status === "deleting"}
          onClick={deeds.stop}
        >
          {words.stop}
        </Button>
      )}
    </div>
  );
}

function State({ machine }: { machine: Machine }) {
  return (
    <>
      <MachineState machine={machine} />
      {machine.status === "running" && (
        <div className="small">
          <TimeLeft machine={machine} />
        </div>
      )}
    </>
  );
}

function useColumns(isNarrow: boolean): TableColumnsType<Machine> {
  const { text, format, language } = useWords();
  const { col } = text.machines;
  return [
    {
      title: col.name,
      key: "name",
      render: (_, machine) => (
        <>
          <div className={isNarrow ? "break" : "words"}>
            <Link to={`/machines/${machine.key}`}>{machine.name}</Link>
            <div className="muted small">{machine.image.title}</div>
          </div>
          {isNarrow && (
            <div className="machine-row">
              <div>
                <State machine={machine} />
              </div>
              <RowActions machine={machine} />
            </div>
          )}
        </>
      ),
    },
    {
      title: col.status,
      key: "status",
      responsive: ["md"],
      render: (_, machine) => (
        <div className="words">
          <State machine={machine} />
        </div>
      ),
    },
    {
      title: col.flavor,
      key: "flavor",
      responsive: ["lg"],
      render: (_, machine) => (
        <div className="words">
          {sayFlavor(language, machine.flavor.title)}
          <div className="muted small num">
            {text.pointsPerHour(format.points(machine.flavor.price_mpoints_per_hour))}
          </div>
        </div>
      ),
    },
    {
      title: col.tools,
      key: "tools",
      responsive: ["md"],
      render: (_, machine) => <ToolButtons machine={machine} isSmall />,
    },
    {
      title: <span className="visually-hidden">{col.actions}</span>,
      key: "actions",
      responsive: ["md"],
      render: (_, machine) => <RowActions machine={machine} />,
    },
  ];
}

export function MachinesPage() {
  const { text } = useWords();
  const words = text.machines;
  const machines = useQuery(machineQueries.list());
  const isNarrow = useIsNarrow();
  const columns = useColumns(isNarrow);
  const make = (
    <LinkButton to="/machines/new" type="primary" icon={<PlusOutlined />}>
      {words.make}
    </LinkButton>
  );
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} actions={make} />
      <EngineBanner />
      <div className="panel flush">
        <Loaded query={machines}>
          {(list) => (
            <DataTable<Machine>
              rowKey="key"
              scroll={isNarrow ? {} : { x: "max-content" }}
              columns={columns}
              dataSource={list}
              pagination={false}
              locale={{
                emptyText: <EmptyState title={words.empty} text={words.emptyText} action={make} />,
              }}
            />
          )}
        </Loaded>
      </div>
      <SavedImages />
    </div>
  );
}

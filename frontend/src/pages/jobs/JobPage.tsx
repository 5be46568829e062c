// One job, while it is live and after: what it does, what it says, what came out, and why it ended.

import { Alert, Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { useParams } from "react-router";
import { queries } from "../../api/queries";
import type { Job, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import type { RunStream } from "../../stores/runStream";
import { Loaded } from "../../widgets/Loaded";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { UrlTabs } from "../UrlTabs";
import { useUrlState } from "../useUrlState";
import { ArtifactsTab } from "./ArtifactsTab";
import { JobHead } from "./JobHead";
import { JobOutcome } from "./JobOutcome";
import { JobSummary } from "./JobSummary";
import { OverviewTab } from "./OverviewTab";
import { RunsTab } from "./RunsTab";
import { SamplesTab } from "./SamplesTab";
import { ScriptOverview } from "./ScriptOverview";
import { useRunStream } from "./useRunStream";

const LogTab = lazy(async () => ({ default: (await import("./LogTab")).LogTab }));
const QuantizeOverview = lazy(async () => ({
  default: (await import("./QuantizeOverview")).QuantizeOverview,
}));
const SpecTab = lazy(async () => ({ default: (await import("./SpecTab")).SpecTab }));

/** By kind: a script tells curves of its own, a quantization has a report card. */
function Overview(props: { job: Job; run: Run; stream: RunStream }) {
  if (props.job.kind === "script") return <ScriptOverview {...props} />;
  return props.job.kind === "quantize" ? (
    <QuantizeOverview {...props} />
  ) : (
    <OverviewTab {...props} />
  );
}

export function JobPage() {
  const { id = "" } = useParams();
  const [read] = useUrlState();
  const job = useQuery(queries.job(id));
  return (
    <Loaded query={job} skeleton={<PageSkeleton />}>
      {(data) => {
        const wanted = data.runs.find((run) => String(run.index) === read("run"));
        return <JobView key={wanted?.id ?? data.run.id} job={data} run={wanted ?? data.run} />;
      }}
    </Loaded>
  );
}

function JobView({ job, run }: { job: Job; run: Run }) {
  const { text } = useWords();
  const words = text.jobs;
  const [, write] = useUrlState();
  const { stream, state } = useRunStream(run);
  const isLatest = run.id === job.run.id;
  const isLost = state === "waiting" && isLatest && !job.ended_at;
  const tabs = [
    {
      key: "overview",
      label: words.tab.overview,
      children: <Overview job={job} run={run} stream={stream} />,
    },
    {
      key: "log",
      label: words.tab.log,
      children: <LogTab run={run} log={stream.log} isLive={!run.ended_at} />,
    },
    ...(job.kind === "script" || job.kind === "quantize"
      ? []
      : [
          {
            key: "samples",
            label: words.tab.samples,
            children: <SamplesTab run={run} stream={stream} />,
          },
        ]),
    { key: "artifacts", label: words.tab.artifacts, children: <ArtifactsTab run={run} /> },
    { key: "spec", label: words.tab.spec, children: <SpecTab job={job} /> },
    { key: "runs", label: words.tab.runs, children: <RunsTab job={job} run={run} /> },
  ];
  return (
    <div className="page">
      <JobHead job={job} />
      <div className="stack">
        {isLost && <Alert type="warning" showIcon title={words.reconnecting} />}
        {run.is_silent && !isLost && <Alert type="warning" showIcon title={words.silent} />}
        {!isLatest && (
          <Alert
            type="info"
            showIcon
            title={words.showingRun(run.index)}
            action={<Button onClick={() => write({ run: "" })}>{words.showLatest}</Button>}
          />
        )}
        {isLatest && <JobOutcome job={job} />}
        <JobSummary job={job} run={run} stream={stream} />
        <UrlTabs
          forget={["line"]}
          items={tabs.map((item) => ({
            ...item,
            children: <Suspense fallback={<PageSkeleton />}>{item.children}</Suspense>,
          }))}
        />
      </div>
    </div>
  );
}

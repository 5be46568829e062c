// A quantization: its errors layer by layer while it runs, its report card when it is done.

import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { queries } from "../../api/queries";
import type { Job, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import type { RunStream } from "../../stores/runStream";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { KeyFacts } from "./KeyFacts";
import { Measures } from "./Measures";

const QualityCard = lazy(async () => ({
  default: (await import("../quality/QualityCard")).QualityCard,
}));

interface Props {
  job: Job;
  run: Run;
  stream: RunStream;
}

export function QuantizeOverview({ job, run, stream }: Props) {
  const { text } = useWords();
  const made = run.status === "succeeded" ? job.output_repo : null;
  return (
    <div className="two">
      <div className="stack">
        {made ? <Made id={made} /> : <Waiting />}
        {made === null && <Measures job={job} stream={stream} />}
      </div>
      <section className="panel">
        <h2 className="section-title">{text.jobs.facts.title}</h2>
        <KeyFacts job={job} run={run} stream={stream} />
      </section>
    </div>
  );
}

function Waiting() {
  const { card } = useQuantizeWords();
  return (
    <section className="panel">
      <p className="muted">{card.none}</p>
    </section>
  );
}

function Made({ id }: { id: string }) {
  const { data } = useQuery(queries.repo("model", id));
  if (!data) return <PageSkeleton />;
  if (!data.quality) return null;
  return (
    <Suspense fallback={<PageSkeleton />}>
      <QualityCard report={data.quality} />
    </Suspense>
  );
}

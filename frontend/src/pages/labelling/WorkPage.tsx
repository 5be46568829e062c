// Labelling row by row: keys first, one round trip per answer, nothing lost.

import { Button, Progress } from "antd";
import { useQuery } from "@tanstack/react-query";
import { Link, useParams } from "react-router";
import { queries } from "../../api/queries";
import type { LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { Fault } from "../../widgets/Fault";
import { LazyMarkdown } from "../../widgets/LazyMarkdown";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { RankTask } from "./RankTask";
import { ReviewTask } from "./ReviewTask";
import { SpansTask } from "./SpansTask";
import { KeyButton } from "./KeyButton";
import { useKeys } from "./useKeys";
import { useWork, type Work } from "./useWork";

export function WorkPage() {
  const { id = "" } = useParams();
  const project = useQuery(queries.labelling(id));
  return (
    <div className="page" style={{ maxWidth: 980 }}>
      <Loaded query={project} skeleton={<PageSkeleton />}>
        {(data) => <WorkView project={data} />}
      </Loaded>
    </div>
  );
}

function WorkView({ project }: { project: LabellingDetail }) {
  const { text, format } = useWords();
  const words = text.labelling;
  const work = useWork(project.id);
  return (
    <div className="label-work">
      <PageHead
        title={`${words.work.title}: ${project.name}`}
        heading={
          <h1>
            <Link to={`/labelling/${project.id}`}>{project.name}</Link>
          </h1>
        }
        lead={
          <span className="row num small">
            <span>{words.kind[project.kind]}</span>
            <span style={{ width: 140 }}>
              <Progress
                percent={(100 * project.num_done) / project.num_rows}
                showInfo={false}
                size="small"
                aria-label={words.title}
              />
            </span>
            <span>
              {words.progress(format.number(project.num_done), format.number(project.num_rows))}
            </span>
            <span>{words.byYou(format.number(work.numMine))}</span>
          </span>
        }
      />
      {project.instructions && (
        <details className="panel">
          <summary>{words.instructions}</summary>
          <LazyMarkdown text={project.instructions} />
        </details>
      )}
      {work.isLoading && (
        <div role="status" aria-busy="true" className="panel">
          {text.loading}
        </div>
      )}
      {work.error !== null && <Fault error={work.error} onRetry={work.next} />}
      {!work.isLoading && work.error === null && !work.work && (
        <NoneLeft project={project} work={work} />
      )}
      {work.work && work.error === null && <Row project={project} work={work} />}
    </div>
  );
}

function NoneLeft({ project, work }: { project: LabellingDetail; work: Work }) {
  const { text } = useWords();
  const words = text.labelling.work;
  const isWaiting = project.needs_drafts && project.num_drafted < project.num_rows;
  useKeys({ z: work.undo });
  return (
    <section className="panel">
      <EmptyState
        title={words.none}
        text={isWaiting ? words.waitsForDrafts : words.noneText}
        action={
          <span className="row" style={{ justifyContent: "center" }}>
            <Button onClick={work.next} loading={work.isBusy}>
              {words.tryAgain}
            </Button>
            <KeyButton hint="Z" onClick={work.undo}>
              {words.undo}
            </KeyButton>
            <LinkButton to={`/labelling/${project.id}`} type="primary">
              {words.backTo}
            </LinkButton>
          </span>
        }
      />
    </section>
  );
}

function Row({ project, work }: { project: LabellingDetail; work: Work }) {
  const { text, format } = useWords();
  const words = text.labelling.work;
  const row = work.work;
  if (!row) return null;
  const { before, after } = row;
  const earlier = before === null ? undefined : () => work.go(before);
  const later = after === null ? work.next : () => work.go(after);
  const Task = { review: ReviewTask, rank: RankTask, spans: SpansTask }[project.kind];
  return (
    <>
      <div className="row between small muted num">
        <span>
          <strong style={{ color: "var(--ink)" }} data-testid="row">
            {words.row(format.number(row.row + 1))}
          </strong>{" "}
          {words.line(format.number(row.line))}
        </span>
        {row.state === "done" && (
          <span role="status">{words.done(text.labelling.verdict[row.verdict] ?? "")}</span>
        )}
      </div>
      <Task key={`${row.row} ${row.revision}`} project={project} row={row} work={work} />
      <Steps work={work} earlier={earlier} later={row.state === "done" ? later : undefined} />
    </>
  );
}

interface StepsProps {
  work: Work;
  earlier?: () => void;
  later?: () => void;
}

function Steps({ work, earlier, later }: StepsProps) {
  const { text } = useWords();
  const words = text.labelling.work;
  useKeys({ z: work.undo, s: work.skip, ArrowLeft: earlier, ArrowRight: later });
  return (
    <div className="row between">
      <span className="row">
        <KeyButton size="small" hint="←" disabled={!earlier} onClick={earlier}>
          {words.earlier}
        </KeyButton>
        <KeyButton size="small" hint="→" disabled={!later} onClick={later}>
          {words.later}
        </KeyButton>
      </span>
      <span className="row">
        <KeyButton size="small" hint="Z" onClick={work.undo}>
          {words.undo}
        </KeyButton>
        <KeyButton size="small" hint="S" onClick={work.skip}>
          {work.work?.state === "done" ? words.toNext : words.skip}
        </KeyButton>
      </span>
    </div>
  );
}

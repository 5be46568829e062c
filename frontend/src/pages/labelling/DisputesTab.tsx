// Rows on which annotators disagree, for the owner to settle.

import { Button, Pagination, Segmented, Tag } from "antd";
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { LabelDispute, LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { textOf } from "../../stores/spans";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { useAction } from "../useAction";
import { useUrlState } from "../useUrlState";
import { DisputedRow } from "./DisputedRow";

const PAGE_SIZE = 10;
type Answer = LabelDispute["answers"][number];

export function DisputesTab({ project }: { project: LabellingDetail }) {
  const { text } = useWords();
  const words = text.labelling.disputes;
  const [read, write] = useUrlState();
  const which = read("which") || "open";
  const page = Number(read("page")) || 1;
  const disputes = useQuery({
    ...queries.labelDisputes(project.id, { which, page, page_size: PAGE_SIZE }),
    placeholderData: keepPreviousData,
  });
  return (
    <div className="stack">
      <Segmented
        aria-label={text.labelling.tab.disputes}
        value={which}
        options={[
          { value: "open", label: words.open },
          { value: "decided", label: words.decided },
        ]}
        onChange={(value) => write({ which: value === "open" ? "" : value, page: "" })}
      />
      <Loaded query={disputes}>
        {(data) => (
          <>
            {data.count === 0 && <EmptyState title={words.none} text={words.noneText} />}
            {data.results.map((dispute) => (
              <Dispute key={dispute.row} project={project} dispute={dispute} />
            ))}
            <Pagination
              current={page}
              pageSize={PAGE_SIZE}
              total={data.count}
              hideOnSinglePage
              showSizeChanger={false}
              onChange={(value) => write({ page: value > 1 ? String(value) : "" })}
            />
          </>
        )}
      </Loaded>
    </div>
  );
}

function Dispute({ project, dispute }: { project: LabellingDetail; dispute: LabelDispute }) {
  const { text, format } = useWords();
  const words = text.labelling.disputes;
  const { verdict: names } = text.labelling;
  const [isOpen, setIsOpen] = useState(false);
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const address = `/api/labelling/projects/${project.id}/rows/${dispute.row}/decision/`;
  const settle = (work: () => Promise<unknown>) =>
    run(async () => {
      await work();
      await cache.invalidateQueries({ queryKey: ["labelling", "disputes", project.id] });
      await cache.invalidateQueries({ queryKey: ["labelling", "figures", project.id] });
    });
  const take = (answer: Answer) =>
    settle(() =>
      call("PUT", address, {
        body: {
          verdict: answer.verdict,
          ...(answer.verdict === "edit" && { messages: answer.messages }),
          ...(answer.verdict === "tagged" && { spans: answer.spans }),
        },
      }),
    );
  return (
    <section className="panel" style={{ margin: 0 }} data-testid="dispute">
      <div className="row between">
        <h2 className="section-title num" style={{ margin: 0 }}>
          {words.row(format.number(dispute.row + 1))}
        </h2>
        <Button size="small" aria-expanded={isOpen} onClick={() => setIsOpen(!isOpen)}>
          {isOpen ? text.close : words.show}
        </Button>
      </div>
      {isOpen && <DisputedRow project={project} row={dispute.row} />}
      {dispute.answers.map((answer) => (
        <div key={answer.username} className="row" style={{ marginTop: 10 }}>
          <strong>{answer.username}</strong>
          <Tag variant="filled">{names[answer.verdict] ?? answer.verdict}</Tag>
          {answer.reason && <span className="muted">{answer.reason}</span>}
          {isOpen && answer.messages && (
            <div className="label-said" style={{ flexBasis: "100%" }}>
              {answer.messages.at(-1)?.content}
            </div>
          )}
          {!dispute.decision && (
            <Button size="small" disabled={isBusy} onClick={() => void take(answer)}>
              {words.take(answer.username)}
            </Button>
          )}
          {answer.spans.length > 0 && <SpanList project={project} dispute={dispute} of={answer} />}
        </div>
      ))}
      {dispute.decision && (
        <div className="row" style={{ marginTop: 10 }}>
          <span role="status">
            {words.decidedAs(names[dispute.decision.verdict] ?? dispute.decision.verdict)}
          </span>
          <Button size="small" disabled={isBusy} onClick={() => void settle(() => remove(address))}>
            {words.undo}
          </Button>
        </div>
      )}
    </section>
  );
}

interface SpanListProps {
  project: LabellingDetail;
  dispute: LabelDispute;
  of: Answer;
}

function SpanList({ project, dispute, of }: SpanListProps) {
  const row = useQuery(queries.labelRow(project.id, dispute.row));
  const source = row.data?.text ?? "";
  return (
    <span className="small muted" style={{ flexBasis: "100%" }}>
      {of.spans
        .map((span) => `${span.label}: ${textOf(source, span)} (${span.start}–${span.end})`)
        .join(" · ")}
    </span>
  );
}

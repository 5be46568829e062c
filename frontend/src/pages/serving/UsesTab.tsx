// What was asked of models: a curve of tokens by day, and the days one by one.

import { Select } from "antd";
import { useQuery } from "@tanstack/react-query";
import { servingQueries } from "../../api/servingQueries";
import type { DayUse } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Figure } from "../../widgets/Figure";
import { Loaded } from "../../widgets/Loaded";
import { useUrlState } from "../useUrlState";
import { DayBars } from "./DayBars";
import { addUp, fillDays } from "./days";
import { useServingWords } from "./words";

const SPANS = [7, 30, 90];
const UPOINTS = 1000; // of a milli-point

export function UsesTab() {
  const { format } = useWords();
  const { uses: words, keys: keyWords } = useServingWords();
  const [read, write] = useUrlState();
  const days = SPANS.find((span) => String(span) === read("days")) ?? 30;
  const keys = useQuery(servingQueries.keys());
  const key = keys.data?.find(({ id }) => String(id) === read("key")) ?? null;
  const uses = useQuery(servingQueries.uses(days, key?.id ?? null));
  const points = (upoints: number) => format.exact(upoints / UPOINTS);
  return (
    <section className="panel flush">
      <div className="panel-head">
        <p className="muted" style={{ margin: 0 }}>
          {words.lead}
        </p>
        <div style={{ display: "flex", gap: 8, flexWrap: "wrap" }}>
          <Select
            aria-label={keyWords.name}
            value={key?.id ?? 0}
            onChange={(id: number) => write({ key: id ? String(id) : "" })}
            options={[
              { value: 0, label: words.allKeys },
              ...(keys.data ?? []).map(({ id, name }) => ({ value: id, label: name })),
            ]}
            style={{ minWidth: 140 }}
          />
          <Select
            aria-label={words.day}
            value={days}
            onChange={(span: number) => write({ days: span === 30 ? "" : String(span) })}
            options={SPANS.map((value) => ({ value, label: words.last(value) }))}
          />
        </div>
      </div>
      <Loaded query={uses}>
        {(list) => {
          const sum = addUp(list);
          return (
            <>
              <div className="figures" style={{ margin: "0 20px 16px" }}>
                <Figure label={words.requests} value={format.number(sum.num_requests)} />
                <Figure
                  label={words.read}
                  value={format.number(sum.num_prompt_tokens)}
                  note={`${words.ready}: ${format.number(sum.num_cached_tokens)}`}
                />
                <Figure label={words.written} value={format.number(sum.num_tokens)} />
                <Figure label={words.cost} value={points(sum.cost_upoints)} />
              </div>
              {list.length > 0 && <DayBars days={fillDays(list, days)} />}
              <DataTable<DayUse>
                rowKey={({ day, model }) => `${day} ${model}`}
                dataSource={list}
                pagination={{ pageSize: 30, hideOnSinglePage: true }}
                locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
                columns={[
                  { title: words.day, dataIndex: "day", className: "num" },
                  {
                    title: words.model,
                    key: "model",
                    render: (_, { model }) => <span className="mono cell-name">{model}</span>,
                  },
                  {
                    title: words.requests,
                    key: "requests",
                    align: "right",
                    className: "num",
                    render: (_, { num_requests }) => format.number(num_requests),
                  },
                  {
                    title: words.read,
                    key: "read",
                    align: "right",
                    className: "num",
                    render: (_, { num_prompt_tokens }) => format.number(num_prompt_tokens),
                  },
                  {
                    title: words.written,
                    key: "written",
                    align: "right",
                    className: "num",
                    render: (_, { num_tokens }) => format.number(num_tokens),
                  },
                  {
                    title: words.cost,
                    key: "cost",
                    align: "right",
                    className: "num",
                    render: (_, { cost_upoints }) => points(cost_upoints),
                  },
                ]}
              />
            </>
          );
        }}
      </Loaded>
    </section>
  );
}

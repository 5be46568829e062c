// API keys: each with its models, its budget and what it has spent.

import { App, Button, Progress } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { remove } from "../../api/client";
import { servingQueries } from "../../api/servingQueries";
import type { ApiKey } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";
import { MakeApiKeyDialog } from "./MakeApiKeyDialog";
import { useServingWords } from "./words";

export function KeysTab() {
  const { text, format } = useWords();
  const { keys: words, tabs } = useServingWords();
  const title = tabs.keys;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const keys = useQuery(servingQueries.keys());
  const [isMaking, setIsMaking] = useState(false);

  const revoke = (key: ApiKey) =>
    modal.confirm({
      title: words.revokeTitle(key.name),
      content: words.revokeText,
      okText: words.revoke,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(`/api/api-keys/${key.id}/`);
          await cache.invalidateQueries({ queryKey: ["api-keys"] });
        }),
    });
  const when = (iso: string | null, otherwise: string) =>
    iso ? <RelativeTime iso={iso} /> : <span className="muted">{otherwise}</span>;
  const showBudget = ({ budget_mpoints: budget, spent_mpoints: spent }: ApiKey) => (
    <>
      <span className="num">
        {format.points(spent)}
        {budget === null ? "" : ` / ${format.points(budget)}`}
      </span>
      {budget === null ? (
        <div className="muted small">{words.noBudget}</div>
      ) : (
        <Progress
          percent={Math.min(100, (100 * spent) / budget)}
          showInfo={false}
          size="small"
          status={spent >= budget ? "exception" : "normal"}
          aria-label={words.spent}
        />
      )}
    </>
  );
  return (
    <section className="panel flush">
      <div className="panel-head">
        <h2>{title}</h2>
        <Button type="primary" onClick={() => setIsMaking(true)}>
          {words.make}
        </Button>
      </div>
      <p className="muted" style={{ margin: "0 20px 14px" }}>
        {words.lead} <code className="mono">{`${location.origin}/v1`}</code>
      </p>
      <Loaded query={keys}>
        {(list) => (
          <DataTable<ApiKey>
            rowKey="id"
            dataSource={list}
            pagination={false}
            locale={{ emptyText: <EmptyState title={words.empty} /> }}
            columns={[
              {
                title: words.name,
                key: "name",
                render: (_, { name }) => <span className="cell-name">{name}</span>,
              },
              {
                title: words.begins,
                dataIndex: "prefix",
                className: "mono",
                responsive: ["md"],
              },
              {
                title: words.models,
                key: "models",
                responsive: ["md"],
                render: (_, { models }) =>
                  models.length === 0 ? (
                    <span className="muted">{words.anyModel}</span>
                  ) : (
                    models.map((model) => (
                      <div key={model} className="mono small">
                        {model}
                      </div>
                    ))
                  ),
              },
              { title: words.spent, key: "spent", render: (_, key) => showBudget(key) },
              {
                title: words.used,
                key: "used",
                responsive: ["md"],
                render: (_, { last_used_at }) => when(last_used_at, text.never),
              },
              {
                title: words.ends,
                key: "ends",
                responsive: ["md"],
                render: (_, { expires_at }) => when(expires_at, words.noEnd),
              },
              {
                key: "revoke",
                align: "right",
                title: <span className="visually-hidden">{words.revoke}</span>,
                render: (_, key) => (
                  <Button size="small" danger onClick={() => revoke(key)}>
                    {words.revoke}
                  </Button>
                ),
              },
            ]}
          />
        )}
      </Loaded>
      <MakeApiKeyDialog isOpen={isMaking} onClose={() => setIsMaking(false)} />
    </section>
  );
}

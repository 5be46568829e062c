// Which revision of each model answers, and the way back.

import { App, Button, Tooltip } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "react-router";
import { post } from "../../api/client";
import { servingQueries } from "../../api/servingQueries";
import type { Rollout } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { useAction } from "../useAction";
import { useServingWords } from "./words";

const SHORT = 8;

export function RevisionsTab() {
  const { language } = useWords();
  const words = useServingWords().revisions;
  const { modal } = App.useApp();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const rollouts = useQuery(servingQueries.rollouts());

  const move = (rollout: Rollout, deed: "rollback" | "follow") =>
    run(async () => {
      await post<Rollout>(`/api/rollouts/${rollout.id}/${deed}/`);
      await cache.invalidateQueries({ queryKey: ["rollouts"] });
    });
  const goBack = (rollout: Rollout) =>
    modal.confirm({
      title: words.rollBackTitle(rollout.model),
      content: words.rollBackText,
      okText: words.rollBack,
      onOk: () => move(rollout, "rollback"),
    });
  const commit = (rollout: Rollout, sha: string) =>
    sha && (
      <Link to={`/models/${rollout.model}?revision=${sha}`} className="mono small">
        {sha.slice(0, SHORT)}
      </Link>
    );
  return (
    <section className="panel flush">
      <p className="muted" style={{ margin: "14px 20px" }}>
        {words.lead}
      </p>
      <Loaded query={rollouts}>
        {(list) => (
          <DataTable<Rollout>
            rowKey="id"
            dataSource={list}
            pagination={{ pageSize: 20, hideOnSinglePage: true }}
            locale={{ emptyText: <EmptyState title={words.empty} /> }}
            columns={[
              { title: words.model, dataIndex: "model", className: "mono" },
              { title: words.served, key: "served", render: (_, row) => commit(row, row.served) },
              {
                title: words.candidate,
                key: "candidate",
                render: (_, row) => commit(row, row.candidate),
              },
              {
                title: words.previous,
                key: "previous",
                render: (_, row) => commit(row, row.previous),
              },
              {
                title: words.state,
                key: "state",
                render: (_, row) => (
                  <>
                    {row.is_held ? words.held : words.follows}
                    {row.message && (
                      <div className="muted small">{sayTold(language, row.message, row.told)}</div>
                    )}
                  </>
                ),
              },
              {
                key: "deeds",
                align: "right",
                title: <span className="visually-hidden">{words.rollBack}</span>,
                render: (_, row) =>
                  row.is_held || row.refused ? (
                    <Tooltip title={words.followHint}>
                      <Button
                        size="small"
                        disabled={isBusy}
                        onClick={() => void move(row, "follow")}
                      >
                        {words.follow}
                      </Button>
                    </Tooltip>
                  ) : (
                    row.previous && (
                      <Button size="small" onClick={() => goBack(row)}>
                        {words.rollBack}
                      </Button>
                    )
                  ),
              },
            ]}
          />
        )}
      </Loaded>
    </section>
  );
}

// Models that are loaded to answer, each with its adapters and how its server is.

import { App, Button, Modal, Space } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { post } from "../../api/client";
import { queries } from "../../api/queries";
import type { Deployment } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { EmptyState } from "../../widgets/EmptyState";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { useAction } from "../useAction";
import { HealthView } from "./HealthView";
import { OwnSettings } from "./OwnSettings";
import { SettingsDialog } from "./SettingsDialog";
import { useServingWords } from "./words";
import { DataTable } from "../../widgets/DataTable";
import "./serving.css";

export function ServersTab({ isOperator }: { isOperator: boolean }) {
  const { text, language } = useWords();
  const words = text.deployments;
  const serving = useServingWords();
  const { col } = words;
  const { modal } = App.useApp();
  const { run } = useAction();
  const [lookedAt, setLookedAt] = useState<Deployment | null>(null);
  const [setting, setSetting] = useState<string | null>(null);
  const cache = useQueryClient();
  const deployments = useQuery({ ...queries.deployments(), refetchInterval: 5000 });

  const stop = (deployment: Deployment) =>
    modal.confirm({
      title: words.stopTitle(deployment.model),
      content: words.stopText,
      okText: words.stop,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await post<Deployment>(`/api/deployments/${deployment.id}/stop/`);
          await cache.invalidateQueries({ queryKey: ["deployments"] });
        }),
    });
  const restart = (deployment: Deployment) =>
    modal.confirm({
      title: serving.settings.restartTitle(deployment.model),
      content: serving.settings.restartText,
      okText: serving.settings.restart,
      onOk: () =>
        run(async () => {
          await post<Deployment>(`/api/deployments/${deployment.id}/restart/`);
          await cache.invalidateQueries({ queryKey: ["deployments"] });
        }),
    });
  const when = (iso: string | null) => (iso ? <RelativeTime iso={iso} /> : "");
  return (
    <>
      <section className="panel flush servers">
        <Loaded query={deployments}>
          {(list) => (
            <DataTable<Deployment>
              rowKey="id"
              dataSource={list}
              pagination={{ pageSize: 20, hideOnSinglePage: true }}
              locale={{
                emptyText: (
                  <EmptyState
                    title={words.empty}
                    text={words.emptyText}
                    action={<LinkButton to="/playground">{text.shell.nav.playground}</LinkButton>}
                  />
                ),
              }}
              columns={[
                {
                  title: col.model,
                  key: "model",
                  render: (_, { model }) => (
                    <Link to={`/models/${model.split("@")[0]}`} className="mono cell-name">
                      {model}
                    </Link>
                  ),
                },
                {
                  title: col.state,
                  key: "state",
                  render: (_, { status, message, told, is_retiring, is_outdated }) => (
                    <>
                      <StateTag state={status} word={words.state[status]} />
                      {is_outdated && (
                        <div className="muted small note">{serving.settings.outdated}</div>
                      )}
                      {is_retiring && <div className="muted small note">{serving.retiring}</div>}
                      {message && (
                        <div className="muted small note">{sayTold(language, message, told)}</div>
                      )}
                    </>
                  ),
                },
                {
                  title: col.adapters,
                  key: "adapters",
                  responsive: ["md"],
                  render: (_, { adapters }) =>
                    adapters.map((id) => (
                      <div key={id} className="mono small">
                        {id}
                      </div>
                    )),
                },
                { title: col.node, dataIndex: "node", className: "mono", responsive: ["md"] },
                {
                  title: col.started,
                  key: "started",
                  responsive: ["md"],
                  render: (_, { started_at }) => when(started_at),
                },
                {
                  title: col.used,
                  key: "used",
                  responsive: ["md"],
                  render: (_, { last_used_at }) => when(last_used_at),
                },
                {
                  key: "stop",
                  align: "right",
                  title: <span className="visually-hidden">{words.stop}</span>,
                  render: (_, deployment) => (
                    <Space wrap className="deeds">
                      {deployment.status === "ready" && (
                        <Button size="small" onClick={() => setLookedAt(deployment)}>
                          {serving.health.title}
                        </Button>
                      )}
                      {isOperator && (
                        <Button size="small" onClick={() => setSetting(deployment.model)}>
                          {serving.settings.verb}
                        </Button>
                      )}
                      {isOperator && deployment.is_outdated && (
                        <Button size="small" onClick={() => restart(deployment)}>
                          {serving.settings.restart}
                        </Button>
                      )}
                      {isOperator && ["starting", "ready"].includes(deployment.status) && (
                        <Button size="small" danger onClick={() => stop(deployment)}>
                          {words.stop}
                        </Button>
                      )}
                    </Space>
                  ),
                },
              ]}
            />
          )}
        </Loaded>
        <Modal
          open={lookedAt !== null}
          title={lookedAt?.model}
          footer={null}
          onCancel={() => setLookedAt(null)}
          width={560}
          destroyOnHidden
        >
          {lookedAt && <HealthView id={lookedAt.id} />}
        </Modal>
      </section>
      {isOperator && <OwnSettings onSet={setSetting} />}
      <SettingsDialog model={setting} onClose={() => setSetting(null)} />
    </>
  );
}

// Which repos every node lays out at /share, and how far each node is with them.

import { App, Button, Progress, Segmented } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { post, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { Node, SharedRepo } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { StateTag } from "../../widgets/StateTag";
import { RepoPicker } from "../launch/RepoPicker";
import { useAction } from "../useAction";

type Kind = SharedRepo["kind"];

export function SharePanel({ nodes }: { nodes: readonly Node[] }) {
  const { text, format } = useWords();
  const words = text.nodes.share;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const refresh = () => cache.invalidateQueries({ queryKey: queries.nodeShare().queryKey });
  const drop = (entry: SharedRepo) =>
    modal.confirm({
      title: words.dropTitle(entry.repo),
      content: words.dropText(entry.path),
      okText: words.drop,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(`/api/node-share/${entry.kind}/${entry.repo}/`);
          await refresh();
        }),
    });
  return (
    <section style={{ marginTop: 24 }}>
      <h2 className="section-title">{words.title}</h2>
      <p className="muted">{words.lead}</p>
      <Chooser onChosen={refresh} />
      <div className="panel flush">
        <Loaded query={useQuery(queries.nodeShare())}>
          {(list) => (
            <DataTable<SharedRepo>
              rowKey="path"
              dataSource={list}
              pagination={{ pageSize: 20, hideOnSinglePage: true }}
              locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
              columns={[
                {
                  title: words.col.path,
                  key: "path",
                  render: (_, entry) => (
                    <>
                      <Link className="mono" to={`/${entry.kind}s/${entry.repo}`}>
                        {entry.path}
                      </Link>
                      <CopyButton text={entry.path} size="small" />
                    </>
                  ),
                },
                {
                  title: words.col.revision,
                  key: "revision",
                  className: "mono",
                  render: (_, entry) =>
                    entry.sha ? `${entry.revision} · ${entry.sha.slice(0, 7)}` : words.noRevision,
                },
                {
                  title: words.col.size,
                  key: "size",
                  align: "right",
                  className: "num",
                  render: (_, entry) => format.bytes(entry.size_bytes),
                },
                {
                  title: words.col.state,
                  key: "state",
                  render: (_, entry) => <Spread entry={entry} nodes={nodes} />,
                },
                {
                  key: "actions",
                  align: "right",
                  render: (_, entry) => (
                    <Button
                      size="small"
                      danger
                      type="text"
                      aria-label={`${words.drop}: ${entry.repo}`}
                      onClick={() => drop(entry)}
                    >
                      {words.drop}
                    </Button>
                  ),
                },
              ]}
            />
          )}
        </Loaded>
      </div>
    </section>
  );
}

function Chooser({ onChosen }: { onChosen: () => Promise<unknown> }) {
  const { text } = useWords();
  const words = text.nodes.share;
  const { run, isBusy } = useAction();
  const [kind, setKind] = useState<Kind>("model");
  const [wanted, setWanted] = useState("");
  const choose = () =>
    run(async () => {
      const [repo = "", revision = "main"] = wanted.split("@");
      await post("/api/node-share/", { kind, repo, revision });
      setWanted("");
      await onChosen();
    }, words.chosen);
  return (
    <div className="row" style={{ marginBottom: 12, alignItems: "end" }}>
      <Segmented<Kind>
        aria-label={words.kind}
        value={kind}
        onChange={(next) => {
          setKind(next);
          setWanted("");
        }}
        options={[
          { value: "model", label: text.shell.nav.models },
          { value: "dataset", label: text.shell.nav.datasets },
        ]}
      />
      <div style={{ flex: "1 1 220px", maxWidth: 420 }}>
        <label htmlFor="share-repo" className="muted small" id="share-repo-help">
          {words.repo}
        </label>
        <RepoPicker
          kind={kind}
          id="share-repo"
          value={wanted}
          onChange={(next) => setWanted(String(next ?? ""))}
          hasError={false}
        />
      </div>
      <Button type="primary" disabled={!wanted} loading={isBusy} onClick={() => void choose()}>
        {words.choose}
      </Button>
    </div>
  );
}

/** What the online nodes have of one repo: all of it, a bar while it comes, or why it does not. */
function Spread({ entry, nodes }: { entry: SharedRepo; nodes: readonly Node[] }) {
  const { text, format } = useWords();
  const words = text.nodes.share;
  const online = nodes.filter((node) => node.is_online);
  const states = online.flatMap((node) =>
    node.share
      .filter(
        (each) =>
          each.kind === entry.kind && each.repo === entry.repo && each.revision === entry.sha,
      )
      .map((each) => ({ ...each, node: node.name })),
  );
  const ready = states.filter((each) => each.state === "ready").length;
  const ill = states.filter((each) => each.message);
  const coming = states.filter((each) => each.state === "fetching");
  const done = coming.reduce((sum, each) => sum + each.bytes_done, 0);
  const total = coming.reduce((sum, each) => sum + each.bytes_total, 0);
  if (entry.sha === "") return <StateTag state="failed" word={words.noRevision} />;
  return (
    <>
      <StateTag
        state={
          ready === online.length && ready > 0 ? "succeeded" : ill.length ? "failed" : "queued"
        }
        word={words.ready(ready, online.length)}
      />
      {coming.length > 0 && (
        <Progress
          size="small"
          percent={total ? Math.round((100 * done) / total) : 0}
          aria-label={words.coming(format.bytes(done), format.bytes(total))}
        />
      )}
      {ill.map((each) => (
        <div key={each.node} className="muted small">
          {each.node}: {each.message}
        </div>
      ))}
    </>
  );
}

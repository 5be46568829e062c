// What a run made: checkpoints on its node, and what was stored in the hub.

import { Link } from "react-router";
import type { Artifact, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { DataTable } from "../../widgets/DataTable";

export function ArtifactsTab({ run }: { run: Run }) {
  const { text, format } = useWords();
  const words = text.jobs.artifacts;
  return (
    <div className="panel flush">
      <DataTable<Artifact>
        rowKey={(artifact) => `${artifact.role} ${artifact.name} ${artifact.step ?? ""}`}
        dataSource={run.artifacts}
        pagination={false}
        locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
        columns={[
          { title: text.name, dataIndex: "name", className: "mono" },
          {
            title: words.role,
            key: "role",
            render: (_, { role }) => text.jobs.artifactRole[role] ?? role,
          },
          { title: words.step, dataIndex: "step", align: "right", className: "num" },
          {
            title: words.size,
            key: "size",
            align: "right",
            className: "num",
            render: (_, { size_bytes }) => (size_bytes ? format.bytes(size_bytes) : ""),
          },
          {
            title: words.where,
            key: "where",
            render: (_, { repo, revision, path }) =>
              repo ? (
                <Link to={`/models/${repo}`} className="mono">
                  {repo}
                  {revision && `@${revision.slice(0, 8)}`}
                </Link>
              ) : (
                <span className="mono muted">{path}</span>
              ),
          },
        ]}
      />
    </div>
  );
}

// Files and revisions of a repo: the same for models and datasets.

import type { RepoDetail, RepoFile, Revision } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { RelativeTime } from "../../widgets/RelativeTime";
import { DataTable } from "../../widgets/DataTable";

export function FilesTab({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.files;
  const door = repo.kind === "dataset" ? "/datasets/" : "/";
  const address = (path: string) =>
    `${door}${repo.id}/resolve/${repo.revision}/${path.split("/").map(encodeURIComponent).join("/")}`;
  return (
    <div className="panel flush">
      <DataTable<RepoFile>
        rowKey="path"
        dataSource={repo.files}
        pagination={{ pageSize: 50, hideOnSinglePage: true }}
        columns={[
          {
            title: words.path,
            key: "path",
            render: (_, file) => (
              <a className="mono" href={address(file.path)} download>
                {file.path}
              </a>
            ),
          },
          {
            title: words.size,
            key: "size",
            align: "right",
            className: "num",
            render: (_, file) => format.bytes(file.size_bytes),
          },
          {
            title: words.hash,
            key: "hash",
            responsive: ["md"],
            render: (_, file) => (
              <span className="mono muted">
                {file.sha256.slice(0, 12)} <CopyButton text={file.sha256} size="small" />
              </span>
            ),
          },
        ]}
      />
    </div>
  );
}

export function RevisionsTab({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.hub.revisions;
  return (
    <div className="panel flush">
      <DataTable<Revision>
        rowKey="revision"
        dataSource={repo.revisions}
        pagination={{ pageSize: 20, hideOnSinglePage: true }}
        columns={[
          {
            title: words.revision,
            key: "revision",
            render: (_, revision) => (
              <span className="mono">
                {revision.revision.slice(0, 10)}{" "}
                <CopyButton text={revision.revision} size="small" />
              </span>
            ),
          },
          { title: words.message, dataIndex: "message" },
          { title: words.author, dataIndex: "author" },
          {
            title: words.when,
            key: "when",
            render: (_, revision) => <RelativeTime iso={revision.created_at} />,
          },
        ]}
      />
    </div>
  );
}

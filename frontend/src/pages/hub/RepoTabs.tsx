// Files and revisions of a repo: the same for models and datasets.

import { Breadcrumb, Button } from "antd";
import type { RepoDetail, Revision } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { RelativeTime } from "../../widgets/RelativeTime";
import { DataTable } from "../../widgets/DataTable";
import { FolderOutlined } from "../../widgets/icons";
import { useUrlState } from "../useUrlState";
import { type Entry, listFolder } from "./folders";

export function FilesTab({ repo }: { repo: RepoDetail }) {
  const { text, format } = useWords();
  const words = text.hub.files;
  const [read, write] = useUrlState();
  const folder = read("folder");
  const door = repo.kind === "dataset" ? "/datasets/" : "/";
  const address = (path: string) =>
    `${door}${repo.id}/resolve/${repo.revision}/${path.split("/").map(encodeURIComponent).join("/")}`;
  const parts = folder ? folder.split("/") : [];
  const crumbs = [
    { key: "", title: repo.id.split("/")[1] },
    ...parts.map((title, index) => ({ key: parts.slice(0, index + 1).join("/"), title })),
  ].map(({ key, title }) => ({
    key,
    title: (
      <Button type="link" size="small" onClick={() => write({ folder: key })}>
        {title}
      </Button>
    ),
  }));
  return (
    <div className="panel flush">
      {folder && <Breadcrumb className="log-tools" items={crumbs} />}
      <DataTable<Entry>
        rowKey="path"
        dataSource={listFolder(repo.files, folder)}
        pagination={{ pageSize: 50, hideOnSinglePage: true, showSizeChanger: false }}
        columns={[
          {
            title: words.path,
            key: "path",
            render: (_, entry) =>
              entry.file ? (
                <a className="mono" href={address(entry.path)} download>
                  {entry.name}
                </a>
              ) : (
                <Button
                  type="link"
                  className="mono"
                  icon={<FolderOutlined />}
                  style={{ padding: 0, height: "auto" }}
                  onClick={() => write({ folder: entry.path })}
                >
                  {entry.name}
                </Button>
              ),
          },
          {
            title: words.size,
            key: "size",
            align: "right",
            className: "num",
            render: (_, entry) => format.bytes(entry.size_bytes),
          },
          {
            title: words.hash,
            key: "hash",
            responsive: ["md"],
            render: (_, { file, numFiles }) =>
              file ? (
                <span className="mono muted">
                  {file.sha256.slice(0, 12)} <CopyButton text={file.sha256} size="small" />
                </span>
              ) : (
                <span className="muted">
                  {text.finding.folder.files(format.number(numFiles ?? 0))}
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

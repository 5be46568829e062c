// A repo's folders and files, each with the commit that last changed it; a file opens in its place.

import { Breadcrumb, Button, Pagination } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { FolderEntry, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { DownloadOutlined, FileOutlined, FolderOutlined } from "../../widgets/icons";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useUrlState } from "../useUrlState";
import { fileUrl } from "./cardLinks";
import { FilePreview } from "./FilePreview";

const PAGE_SIZE = 50;

export function FilesTab({ repo }: { repo: RepoDetail }) {
  const [read] = useUrlState();
  const path = read("path");
  return (
    <div className="panel flush">
      <Crumbs repo={repo} />
      {path ? <FilePreview key={path} repo={repo} path={path} /> : <Folder repo={repo} />}
    </div>
  );
}

function Crumbs({ repo }: { repo: RepoDetail }) {
  const [read, write] = useUrlState();
  const path = read("path");
  const parts = (path || read("folder")).split("/").filter(Boolean);
  if (parts.length === 0) return null;
  const folders = [repo.id.split("/")[1] ?? "", ...(path ? parts.slice(0, -1) : parts)];
  const items = folders.map((name, index) => ({
    key: index,
    title: (
      <Button
        type="link"
        size="small"
        onClick={() =>
          write({ path: "", folder: parts.slice(0, index).join("/"), at: "" }, { isStep: true })
        }
      >
        {name}
      </Button>
    ),
  }));
  const last = path && { key: -1, title: <span className="mono break">{parts.at(-1)}</span> };
  return <Breadcrumb className="log-tools" items={last ? [...items, last] : items} />;
}

function Folder({ repo }: { repo: RepoDetail }) {
  const { text } = useWords();
  const words = text.repo.files;
  const [read, write] = useUrlState();
  const page = Number(read("at")) || 1;
  const folder = useQuery({
    ...queries.folder(repo, {
      revision: repo.revision,
      folder: read("folder"),
      page,
      page_size: PAGE_SIZE,
    }),
    placeholderData: keepPreviousData,
  });
  return (
    <Loaded query={folder}>
      {(data) => (
        <>
          <Entries repo={repo} entries={data.results} />
          {data.count === 0 && <EmptyState title={words.empty} text={words.emptyText} />}
          <Pagination
            style={{ padding: 14 }}
            current={page}
            pageSize={PAGE_SIZE}
            total={data.count}
            hideOnSinglePage
            showSizeChanger={false}
            onChange={(value) => write({ at: value > 1 ? String(value) : "" })}
          />
        </>
      )}
    </Loaded>
  );
}

function Entries({ repo, entries }: { repo: RepoDetail; entries: FolderEntry[] }) {
  const { text, format } = useWords();
  const words = text.repo.files;
  const [, write] = useUrlState();
  if (entries.length === 0) return null;
  const open = ({ is_folder, path }: FolderEntry) =>
    write(is_folder ? { folder: path, at: "" } : { path }, { isStep: true });
  return (
    <DataTable<FolderEntry>
      rowKey="path"
      dataSource={entries}
      pagination={false}
      columns={[
        {
          title: words.name,
          key: "name",
          render: (_, entry) => (
            <Button
              type="link"
              className="mono entry"
              icon={entry.is_folder ? <FolderOutlined /> : <FileOutlined />}
              onClick={() => open(entry)}
            >
              {entry.name}
            </Button>
          ),
        },
        {
          title: text.hub.files.size,
          key: "size",
          align: "right",
          className: "num",
          render: (_, { is_folder, size_bytes, num_files }) => (
            <>
              {format.bytes(size_bytes)}
              {is_folder && (
                <div className="muted small">
                  {text.finding.folder.files(format.number(num_files))}
                </div>
              )}
            </>
          ),
        },
        {
          title: words.last,
          key: "last",
          responsive: ["md"],
          render: (_, { last }) =>
            last ? (
              <Button
                type="text"
                className="entry last-commit"
                onClick={() => write({ tab: "history", commit: last.revision }, { isStep: true })}
              >
                {last.title}
              </Button>
            ) : (
              <span className="muted">{words.older}</span>
            ),
        },
        {
          title: words.when,
          key: "when",
          responsive: ["md"],
          render: (_, { last }) => last && <RelativeTime iso={last.created_at} />,
        },
        {
          key: "verbs",
          align: "right",
          render: (_, { is_folder, path, name }) => (
            <span className="entry-verbs">
              <CopyButton text={path} size="small" label={words.copyPath} />
              {!is_folder && repo.can.read && (
                <Button
                  type="text"
                  size="small"
                  icon={<DownloadOutlined />}
                  href={fileUrl(repo, repo.revision, path)}
                  download={name}
                  aria-label={`${text.download} ${name}`}
                />
              )}
            </span>
          ),
        },
      ]}
    />
  );
}

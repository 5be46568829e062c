// One commit: who, when and why, and what it did to each file; small texts open line by line.

import { Button, Collapse, Pagination, Tag } from "antd";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { CommitDetail, FileChange, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { EmptyState } from "../../widgets/EmptyState";
import { ArrowLeftOutlined } from "../../widgets/icons";
import { Loaded } from "../../widgets/Loaded";
import { useUrlState } from "../useUrlState";
import { DiffView } from "./DiffView";
import { CommitBy } from "./HistoryTab";
import { useRevision } from "./RevisionSelect";

const PAGE_SIZE = 50;

export function CommitView({ repo, sha }: { repo: RepoDetail; sha: string }) {
  const { text } = useWords();
  const words = text.repo.history;
  const [, write] = useUrlState();
  const [page, setPage] = useState(1);
  const commit = useQuery({
    ...queries.commit(repo, sha, { page, page_size: PAGE_SIZE }),
    placeholderData: keepPreviousData,
  });
  return (
    <div className="panel flush" data-testid="commit">
      <div className="log-tools">
        <Button
          type="link"
          icon={<ArrowLeftOutlined />}
          onClick={() => write({ commit: "" }, { isStep: true })}
        >
          {words.back}
        </Button>
      </div>
      <Loaded query={commit}>
        {(data) => (
          <>
            <CommitHead commit={data} />
            {data.count === 0 && <EmptyState title={words.none} />}
            {data.count > 0 && <Changes repo={repo} commit={data} />}
            <Pagination
              style={{ padding: 14 }}
              current={page}
              pageSize={PAGE_SIZE}
              total={data.count}
              hideOnSinglePage
              showSizeChanger={false}
              onChange={setPage}
            />
          </>
        )}
      </Loaded>
    </div>
  );
}

function CommitHead({ commit }: { commit: CommitDetail }) {
  const { text, format } = useWords();
  const words = text.repo.history;
  const [, choose] = useRevision();
  const { num_added, num_changed, num_deleted } = commit;
  return (
    <header className="commit-head">
      <h2>{commit.title}</h2>
      {commit.description && <p className="commit-text">{commit.description}</p>}
      <div className="row muted small">
        <span>
          <CommitBy line={commit} />
        </span>
        <span className="mono">
          {commit.revision.slice(0, 10)} <CopyButton text={commit.revision} size="small" />
        </span>
        {commit.names.map((name) => (
          <Tag key={name} className="mono">
            {name}
          </Tag>
        ))}
        <Button size="small" onClick={() => choose(commit.revision)}>
          {words.browse}
        </Button>
      </div>
      <p className="num" style={{ marginBottom: 0 }}>
        {commit.parent_revision
          ? words.tally(
              format.number(num_added),
              format.number(num_changed),
              format.number(num_deleted),
            )
          : words.first}
      </p>
    </header>
  );
}

function Changes({ repo, commit }: { repo: RepoDetail; commit: CommitDetail }) {
  const { text } = useWords();
  const words = text.repo.history;
  const items = commit.results.map((change) => ({
    key: change.path,
    label: <ChangeLine change={change} label={words.show(change.path)} />,
    children: <DiffView repo={repo} sha={commit.revision} path={change.path} />,
  }));
  const isOne = commit.count === 1 && repo.can.read;
  return (
    <Collapse
      ghost
      destroyOnHidden
      className="changes"
      defaultActiveKey={isOne ? commit.results.map(({ path }) => path) : []}
      items={repo.can.read ? items : items.map((item) => ({ ...item, collapsible: "disabled" }))}
    />
  );
}

function ChangeLine({ change, label }: { change: FileChange; label: string }) {
  const { text, format } = useWords();
  const words = text.repo.history;
  const { size_before, size_after } = change;
  const sizes = [size_before, size_after].filter((size) => size !== null).map(format.bytes);
  const [before = "", after] = sizes;
  return (
    <span className="change-line">
      <Tag className={`change ${change.kind}`}>{words.kind[change.kind]}</Tag>
      <span className="mono break" title={label}>
        {change.path}
      </span>
      <span className="muted small num">
        {after === undefined ? before : words.sizes(before, after)}
      </span>
    </span>
  );
}
